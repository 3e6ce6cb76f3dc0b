//! The kernel behind a safe interface: the only crate with `unsafe`. See ARCHITECTURE.md.

pub mod cgroup;
pub mod fifo;
pub mod fsync;
#[allow(unsafe_code, reason = "mount_setattr, and a process that carries a user namespace")]
pub mod idmap;
#[allow(unsafe_code, reason = "madvise on a range of memory")]
pub mod image;
#[allow(unsafe_code, reason = "mallopt and malloc_trim")]
pub mod malloc;
#[allow(unsafe_code, reason = "threads with a working directory or mounts of their own")]
pub mod mount;
pub mod poll;
#[allow(unsafe_code, reason = "fork, exec and inherited descriptors")]
pub mod process;
pub mod pty;
pub mod root;
#[allow(unsafe_code, reason = "signalfd, which rustix does not have")]
pub mod signal;
