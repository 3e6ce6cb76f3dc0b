//! What happens, for those who watch: one variant for each of containerd's events.
//!
//! The wire form of each is a message of `containerd.events` (images: `containerd.services.images.v1`);
//! the order of a task's events is create, start, exit, delete.

use crate::{Any, Labels, Mount, Namespace, Runtime, Timestamp};
use std::borrow::Cow;

/// Something that happened to one object.
#[derive(Clone, Debug, PartialEq)]
#[allow(missing_docs, reason = "the fields are those of containerd's event messages of the same name")]
pub enum Event {
    NamespaceCreate { name: String, labels: Labels },
    NamespaceUpdate { name: String, labels: Labels },
    NamespaceDelete { name: String },
    ContainerCreate { id: String, image: String, runtime: Runtime },
    ContainerUpdate { id: String, image: String, labels: Labels, snapshot_key: String },
    ContainerDelete { id: String },
    ContentCreate { digest: String, size: u64, media_type: String },
    ContentDelete { digest: String },
    ImageCreate { name: String, labels: Labels },
    ImageUpdate { name: String, labels: Labels },
    ImageDelete { name: String },
    SnapshotPrepare { key: String, parent: String, snapshotter: String },
    SnapshotCommit { key: String, name: String, snapshotter: String },
    SnapshotRemove { key: String, snapshotter: String },
    TaskCreate(TaskCreate),
    TaskStart { container_id: String, pid: u32 },
    TaskOom { container_id: String },
    TaskExit { container_id: String, id: String, pid: u32, exit_status: u32, exited_at: Timestamp },
    TaskDelete { container_id: String, id: String, pid: u32, exit_status: u32, exited_at: Timestamp },
    TaskExecAdded { container_id: String, exec_id: String },
    TaskExecStarted { container_id: String, exec_id: String, pid: u32 },
    TaskPaused { container_id: String },
    TaskResumed { container_id: String },
    TaskCheckpointed { container_id: String, checkpoint: String },
    SandboxCreate { sandbox_id: String },
    SandboxStart { sandbox_id: String },
    SandboxExit { sandbox_id: String, exit_status: u32, exited_at: Timestamp },
}

/// The fields of [`Event::TaskCreate`].
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TaskCreate {
    /// The container whose task it is.
    pub container_id: String,
    /// Path of the bundle.
    pub bundle: String,
    /// What the root filesystem is mounted from.
    pub rootfs: Vec<Mount>,
    /// Where standard input, output and error go.
    pub io: TaskIo,
    /// Path of the checkpoint restored from, or empty.
    pub checkpoint: String,
    /// Process id of the init process.
    pub pid: u32,
}

/// A process's standard streams: paths or URIs, empty for none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskIo {
    /// Standard input.
    pub stdin: String,
    /// Standard output.
    pub stdout: String,
    /// Standard error.
    pub stderr: String,
    /// Whether it is a terminal.
    pub terminal: bool,
}

/// An event on its way to its watchers.
#[derive(Clone, Debug, PartialEq)]
pub struct Envelope {
    /// When it happened.
    pub timestamp: Timestamp,
    /// Where it happened.
    pub namespace: Namespace,
    /// `/tasks/exit` and the like.
    pub topic: String,
    /// The event's message; opaque, as shims publish messages of their own.
    pub event: Any,
}

impl Event {
    /// The topic it is published under.
    pub fn topic(&self) -> &'static str {
        match self {
            Self::NamespaceCreate { .. } => "/namespaces/create",
            Self::NamespaceUpdate { .. } => "/namespaces/update",
            Self::NamespaceDelete { .. } => "/namespaces/delete",
            Self::ContainerCreate { .. } => "/containers/create",
            Self::ContainerUpdate { .. } => "/containers/update",
            Self::ContainerDelete { .. } => "/containers/delete",
            Self::ContentCreate { .. } => "/content/create",
            Self::ContentDelete { .. } => "/content/delete",
            Self::ImageCreate { .. } => "/images/create",
            Self::ImageUpdate { .. } => "/images/update",
            Self::ImageDelete { .. } => "/images/delete",
            Self::SnapshotPrepare { .. } => "/snapshot/prepare",
            Self::SnapshotCommit { .. } => "/snapshot/commit",
            Self::SnapshotRemove { .. } => "/snapshot/remove",
            Self::TaskCreate(_) => "/tasks/create",
            Self::TaskStart { .. } => "/tasks/start",
            Self::TaskOom { .. } => "/tasks/oom",
            Self::TaskExit { .. } => "/tasks/exit",
            Self::TaskDelete { .. } => "/tasks/delete",
            Self::TaskExecAdded { .. } => "/tasks/exec-added",
            Self::TaskExecStarted { .. } => "/tasks/exec-started",
            Self::TaskPaused { .. } => "/tasks/paused",
            Self::TaskResumed { .. } => "/tasks/resumed",
            Self::TaskCheckpointed { .. } => "/tasks/checkpointed",
            Self::SandboxCreate { .. } => "/sandboxes/create",
            Self::SandboxStart { .. } => "/sandboxes/start",
            Self::SandboxExit { .. } => "/sandboxes/exit",
        }
    }

    /// The field `path` of the event's message, for filters on `event.<path>`: the string fields
    /// and labels that containerd's own `Field` methods know, and only when not empty.
    pub fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        let (first, rest) = path.split_first()?;
        if let Some(labels) = self.labels()
            && first == "labels"
        {
            return labels.get(&rest.join(".")).map(|value| Cow::Borrowed(value.as_str()));
        }
        let text = match (self, first.as_str()) {
            (
                Self::NamespaceCreate { name, .. }
                | Self::NamespaceUpdate { name, .. }
                | Self::NamespaceDelete { name }
                | Self::ImageCreate { name, .. }
                | Self::ImageUpdate { name, .. }
                | Self::ImageDelete { name }
                | Self::SnapshotCommit { name, .. },
                "name",
            ) => name,
            (
                Self::ContainerCreate { id, .. }
                | Self::ContainerUpdate { id, .. }
                | Self::ContainerDelete { id }
                | Self::TaskExit { id, .. }
                | Self::TaskDelete { id, .. },
                "id",
            ) => id,
            (Self::ContainerCreate { image, .. } | Self::ContainerUpdate { image, .. }, "image") => image,
            (Self::ContainerCreate { runtime, .. }, "runtime") if rest.first().is_some_and(|f| f == "name") => {
                &runtime.name
            }
            (Self::ContainerUpdate { snapshot_key, .. }, "snapshot_key") => snapshot_key,
            (Self::ContentCreate { digest, .. } | Self::ContentDelete { digest }, "digest") => digest,
            (Self::ContentCreate { media_type, .. }, "media_type") => media_type,
            (_, "key" | "parent" | "snapshotter") => self.snapshot_field(first)?,
            _ => self.task_field(first, rest)?,
        };
        (!text.is_empty()).then_some(Cow::Borrowed(text.as_str()))
    }

    fn labels(&self) -> Option<&Labels> {
        match self {
            Self::NamespaceCreate { labels, .. }
            | Self::NamespaceUpdate { labels, .. }
            | Self::ContainerUpdate { labels, .. }
            | Self::ImageCreate { labels, .. }
            | Self::ImageUpdate { labels, .. } => Some(labels),
            _ => None,
        }
    }

    fn snapshot_field(&self, name: &str) -> Option<&String> {
        match (self, name) {
            (
                Self::SnapshotPrepare { key, .. } | Self::SnapshotCommit { key, .. } | Self::SnapshotRemove { key, .. },
                "key",
            ) => Some(key),
            (Self::SnapshotPrepare { parent, .. }, "parent") => Some(parent),
            (
                Self::SnapshotPrepare { snapshotter, .. }
                | Self::SnapshotCommit { snapshotter, .. }
                | Self::SnapshotRemove { snapshotter, .. },
                "snapshotter",
            ) => Some(snapshotter),
            _ => None,
        }
    }

    fn task_field(&self, name: &str, rest: &[String]) -> Option<&String> {
        match (self, name) {
            (Self::TaskCreate(task), "container_id") => Some(&task.container_id),
            (Self::TaskCreate(task), "bundle") => Some(&task.bundle),
            (Self::TaskCreate(task), "checkpoint") => Some(&task.checkpoint),
            (Self::TaskCreate(task), "io") => match rest.first()?.as_str() {
                "stdin" => Some(&task.io.stdin),
                "stdout" => Some(&task.io.stdout),
                "stderr" => Some(&task.io.stderr),
                _ => None,
            },
            (
                Self::TaskStart { container_id, .. }
                | Self::TaskOom { container_id }
                | Self::TaskExit { container_id, .. }
                | Self::TaskDelete { container_id, .. }
                | Self::TaskExecAdded { container_id, .. }
                | Self::TaskExecStarted { container_id, .. }
                | Self::TaskPaused { container_id }
                | Self::TaskResumed { container_id }
                | Self::TaskCheckpointed { container_id, .. },
                "container_id",
            ) => Some(container_id),
            (Self::TaskExecAdded { exec_id, .. } | Self::TaskExecStarted { exec_id, .. }, "exec_id") => Some(exec_id),
            (Self::TaskCheckpointed { checkpoint, .. }, "checkpoint") => Some(checkpoint),
            _ => None,
        }
    }
}
