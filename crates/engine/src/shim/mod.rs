//! Shims: the processes that run containers for us and outlive us.
//!
//! `runtime` finds the binary, `binary` runs it, `bootstrap` is the first exchange with it,
//! `connection` the lasting one, `log` what it has to say, `process` what it is to the kernel.

mod binary;
mod bootstrap;
mod connection;
mod log;
mod process;
mod runtime;

pub(crate) use binary::Binary;
pub(crate) use bootstrap::Bootstrap;
pub(crate) use connection::{Connections, Shared, remove_stale_socket};
pub(crate) use log::follow as follow_log;
pub(crate) use process::{ShimProcess, shim_processes};
pub(crate) use runtime::Runtimes;
