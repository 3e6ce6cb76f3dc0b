//! The embeddable library: containers under supervision.
//!
//! [`Engine`] joins the store's records to running shims. A shim is a process of its own that
//! outlives us; what ties the two is ttrpc and the bundle directory, both containerd's own, so
//! that either side can be exchanged for the Go one. [`Exchange`] is the bus of events.
//!
//! No wire type appears in this API.

mod bundle;
mod checkpoint;
mod config;
mod engine;
mod events;
mod remote_snapshotter;
mod restart;
mod shim;
mod task;
mod tasks;
pub mod transfer;

pub use config::{EngineConfig, Timeouts};
pub use engine::Engine;
pub use events::{Exchange, Receipt, Subscription};
pub use remote_snapshotter::{RemoteConfig, RemoteSnapshotter};
pub use restart::RestartMonitor;
pub use task::{CreateTask, Exec, Exit, Metric, Process, ProcessId, ProcessInfo, RuntimeInfo, Status, Stdio};
