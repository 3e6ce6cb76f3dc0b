//! The kernel behind a safe interface: the only crate with `unsafe`. See ARCHITECTURE.md.

pub mod cgroup;
pub mod fifo;
pub mod fsync;
pub mod poll;
#[allow(unsafe_code, reason = "fork, exec and inherited descriptors")]
pub mod process;
pub mod pty;
pub mod root;
#[allow(unsafe_code, reason = "signalfd, which rustix does not have")]
pub mod signal;
