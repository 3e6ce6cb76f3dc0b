//! The OCI runtime spec of a container, as containerd's own clients make it.
//!
//! [`Spec::linux`] is the default; the other methods change it step by step, each one a flag of `ctr run`.

mod capabilities;
mod devices;
mod image_config;
mod linux;
mod seccomp;
mod types;
mod users;

pub use types::{
    Capabilities, Cpu, Device, DeviceRule, IdMapping, IntelRdt, Linux, Memory, Mount, Namespace, Process, Resources,
    Rlimit, Root, Spec, User,
};
pub use users::RootFiles;

/// Type of a spec inside an `Any`: JSON, under a name Go's client made up.
pub const SPEC_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// Type of a process of a spec inside an `Any`.
pub const PROCESS_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/Process";
