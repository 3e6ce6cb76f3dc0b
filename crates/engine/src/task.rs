//! The nouns of the task API: a container's processes, seen from outside.

use model::{Any, Descriptor, Mount, Timestamp};
use std::collections::BTreeMap;

/// Names a process: a container's init, or one that was executed in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProcessId {
    /// The container.
    pub container: String,
    /// The exec's id; `None` is the container's init.
    pub exec: Option<String>,
}

impl ProcessId {
    /// From the wire, where an empty `exec` means init.
    pub fn new(container: impl Into<String>, exec: &str) -> Self {
        Self { container: container.into(), exec: (!exec.is_empty()).then(|| exec.to_owned()) }
    }

    /// The init of `container`.
    pub fn init(container: impl Into<String>) -> Self {
        Self { container: container.into(), exec: None }
    }

    /// The exec's id as the wire has it: empty for init.
    pub fn exec_id(&self) -> &str {
        self.exec.as_deref().unwrap_or_default()
    }
}

/// Where a process's standard streams go: fifo paths or containerd's log URIs, opaque to us.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stdio {
    /// Empty: none.
    pub stdin: String,
    /// Empty: none.
    pub stdout: String,
    /// Empty: none; unused with a terminal.
    pub stderr: String,
    /// Whether the process gets a terminal.
    pub terminal: bool,
}

/// A task to create from a container record.
#[derive(Clone, Debug, Default)]
pub struct CreateTask {
    /// The container's id; the task's too.
    pub container: String,
    /// Mounts that make its root filesystem, done by the shim.
    pub rootfs: Vec<Mount>,
    /// Its init's streams.
    pub stdio: Stdio,
    /// A checkpoint to restore from.
    pub checkpoint: Option<Descriptor>,
    /// The shim's options; in place of the container record's.
    pub options: Option<Any>,
    /// A shim to use in place of the container record's, or empty.
    pub runtime_path: String,
    /// A running sandbox's task API (`ttrpc+unix://…`) to use instead of a shim of its own, or empty.
    pub task_api_address: String,
    /// The version spoken at `task_api_address`.
    pub task_api_version: u32,
}

/// A process to execute in a container.
#[derive(Clone, Debug, Default)]
pub struct Exec {
    /// The container.
    pub container: String,
    /// The new process's id, unique in the container.
    pub exec_id: String,
    /// Its streams.
    pub stdio: Stdio,
    /// The OCI process document.
    pub spec: Option<Any>,
}

/// What a process is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Status {
    /// The shim did not say.
    #[default]
    Unknown,
    /// Made, not yet started.
    Created,
    /// Running.
    Running,
    /// Ended, not yet deleted.
    Stopped,
    /// Frozen.
    Paused,
    /// Being frozen.
    Pausing,
}

/// A process as its shim sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Process {
    /// The container, or the exec.
    pub id: String,
    /// In the host's pid namespace; 0 before it is created.
    pub pid: u32,
    /// What it is doing.
    pub status: Status,
    /// Its streams.
    pub stdio: Stdio,
    /// Its exit status once stopped; 128 + signal if a signal ended it.
    pub exit_status: u32,
    /// When it ended.
    pub exited_at: Option<Timestamp>,
}

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Its pid, 0 if not known.
    pub pid: u32,
    /// Its exit status; 128 + signal if a signal ended it.
    pub status: u32,
    /// When.
    pub at: Option<Timestamp>,
}

/// A process found in a container's cgroup.
#[derive(Clone, Debug, PartialEq)]
pub struct ProcessInfo {
    /// In the host's pid namespace.
    pub pid: u32,
    /// What the shim knows of it (`containerd.runc.v1.ProcessDetails`).
    pub info: Option<Any>,
}

/// A container's resource usage.
#[derive(Clone, Debug, PartialEq)]
pub struct Metric {
    /// The container.
    pub id: String,
    /// When it was read.
    pub timestamp: Timestamp,
    /// The shim's figures (`io.containerd.cgroups.v1.Metrics`, `….v2.Metrics`).
    pub data: Option<Any>,
}

/// What a shim says of itself (`<shim> -info`).
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RuntimeInfo {
    /// The shim's name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Its revision.
    pub revision: String,
    /// The options it was asked with.
    pub options: Option<Any>,
    /// The OCI runtime's features.
    pub features: Option<Any>,
    /// Free annotations.
    pub annotations: BTreeMap<String, String>,
}
