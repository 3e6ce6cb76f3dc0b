//! Tasks under supervision: from the shim's start to the bundle's end, whatever dies in between.
//!
//! `registry` says which there are, `create` and `delete` are the two ends of an orderly life,
//! `crash` the other end, `adopt` the second beginning after a restart of the daemon, and `calls`
//! everything a shim is asked in between.

mod adopt;
mod calls;
mod crash;
mod create;
mod delete;
mod registry;
mod supervisor;
mod task;

pub(crate) use adopt::IsSandbox;
pub(crate) use create::{NewTask, Restore, Unpack};
pub(crate) use registry::{Key, Registry, Reservation};
pub(crate) use supervisor::{Supervisor, blocking};
pub(crate) use task::Task;
