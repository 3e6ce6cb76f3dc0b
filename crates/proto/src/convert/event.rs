//! Events ⇄ the `Any` that carries them.
//!
//! Each is the message of the same name in `containerd.events`, but for images', which
//! live in `containerd.services.images.v1`.

use super::{any_from_wire, any_of, any_to_wire, size_from_wire, size_to_wire};
use super::{timestamp_from_wire, timestamp_to_wire};
use crate::api::containerd::{events as wire, services::images::v1 as images, types};
use model::{Event, TaskIo};
use prost::{DecodeError, Message, Name};
use prost_types::Any;

impl From<model::Envelope> for types::Envelope {
    fn from(envelope: model::Envelope) -> Self {
        Self {
            timestamp: Some(timestamp_to_wire(envelope.timestamp)),
            namespace: envelope.namespace.as_str().to_owned(),
            topic: envelope.topic,
            event: Some(any_to_wire(envelope.event)),
        }
    }
}

/// `event` as the message containerd publishes for it.
pub fn event_to_wire(event: Event) -> Any {
    match event {
        Event::NamespaceCreate { name, labels } => any_of(&wire::NamespaceCreate { name, labels }),
        Event::NamespaceUpdate { name, labels } => any_of(&wire::NamespaceUpdate { name, labels }),
        Event::NamespaceDelete { name } => any_of(&wire::NamespaceDelete { name }),
        Event::ContainerCreate { id, image, runtime } => {
            let options = runtime.options.map(any_to_wire);
            let runtime = Some(wire::container_create::Runtime { name: runtime.name, options });
            any_of(&wire::ContainerCreate { id, image, runtime })
        }
        Event::ContainerUpdate { id, image, labels, snapshot_key } => {
            any_of(&wire::ContainerUpdate { id, image, labels, snapshot_key })
        }
        Event::ContainerDelete { id } => any_of(&wire::ContainerDelete { id }),
        Event::ContentCreate { digest, size, media_type } => {
            any_of(&wire::ContentCreate { digest, size: size_to_wire(size), media_type })
        }
        Event::ContentDelete { digest } => any_of(&wire::ContentDelete { digest }),
        Event::ImageCreate { name, labels } => any_of(&images::ImageCreate { name, labels }),
        Event::ImageUpdate { name, labels } => any_of(&images::ImageUpdate { name, labels }),
        Event::ImageDelete { name } => any_of(&images::ImageDelete { name }),
        Event::SnapshotPrepare { key, parent, snapshotter } => {
            any_of(&wire::SnapshotPrepare { key, parent, snapshotter })
        }
        Event::SnapshotCommit { key, name, snapshotter } => any_of(&wire::SnapshotCommit { key, name, snapshotter }),
        Event::SnapshotRemove { key, snapshotter } => any_of(&wire::SnapshotRemove { key, snapshotter }),
        Event::SandboxCreate { sandbox_id } => any_of(&wire::SandboxCreate { sandbox_id }),
        Event::SandboxStart { sandbox_id } => any_of(&wire::SandboxStart { sandbox_id }),
        Event::SandboxExit { sandbox_id, exit_status, exited_at } => {
            let exited_at = Some(timestamp_to_wire(exited_at));
            any_of(&wire::SandboxExit { sandbox_id, exit_status, exited_at })
        }
        task => task_to_wire(task),
    }
}

/// A task's event; of any other kind, an empty value.
fn task_to_wire(event: Event) -> Any {
    match event {
        Event::TaskCreate(task) => any_of(&wire::TaskCreate {
            container_id: task.container_id,
            bundle: task.bundle,
            rootfs: task.rootfs.into_iter().map(Into::into).collect(),
            io: Some(wire::TaskIo {
                stdin: task.io.stdin,
                stdout: task.io.stdout,
                stderr: task.io.stderr,
                terminal: task.io.terminal,
            }),
            checkpoint: task.checkpoint,
            pid: task.pid,
        }),
        Event::TaskStart { container_id, pid } => any_of(&wire::TaskStart { container_id, pid }),
        Event::TaskOom { container_id } => any_of(&wire::TaskOom { container_id }),
        Event::TaskExit { container_id, id, pid, exit_status, exited_at } => {
            let exited_at = Some(timestamp_to_wire(exited_at));
            any_of(&wire::TaskExit { container_id, id, pid, exit_status, exited_at })
        }
        Event::TaskDelete { container_id, id, pid, exit_status, exited_at } => {
            let exited_at = Some(timestamp_to_wire(exited_at));
            any_of(&wire::TaskDelete { container_id, pid, exit_status, exited_at, id })
        }
        Event::TaskExecAdded { container_id, exec_id } => any_of(&wire::TaskExecAdded { container_id, exec_id }),
        Event::TaskExecStarted { container_id, exec_id, pid } => {
            any_of(&wire::TaskExecStarted { container_id, exec_id, pid })
        }
        Event::TaskPaused { container_id } => any_of(&wire::TaskPaused { container_id }),
        Event::TaskResumed { container_id } => any_of(&wire::TaskResumed { container_id }),
        Event::TaskCheckpointed { container_id, checkpoint } => {
            any_of(&wire::TaskCheckpointed { container_id, checkpoint })
        }
        _ => Any::default(),
    }
}

/// The event in `any`; `None` if it is of a kind of somebody else's, or does not decode.
pub fn event_from_wire(any: &Any) -> Option<Event> {
    // A prefix, as some publishers add one.
    let name = any.type_url.rsplit('/').next()?;
    let reader = READERS.iter().find(|(full_name, _)| full_name() == name)?;
    reader.1(&any.value).ok()
}

type Reader = (fn() -> String, fn(&[u8]) -> Result<Event, DecodeError>);

/// How each message becomes an event.
macro_rules! readers {
    ($($message:ty as $name:ident => $event:expr),* $(,)?) => {
        const READERS: &[Reader] = &[$((
            <$message as Name>::full_name,
            |bytes| {
                let $name = <$message>::decode(bytes)?;
                Ok($event)
            },
        )),*];
    };
}

readers! {
    wire::NamespaceCreate as m => Event::NamespaceCreate { name: m.name, labels: m.labels },
    wire::NamespaceUpdate as m => Event::NamespaceUpdate { name: m.name, labels: m.labels },
    wire::NamespaceDelete as m => Event::NamespaceDelete { name: m.name },
    wire::ContainerCreate as m => {
        let runtime = m.runtime.unwrap_or_default();
        let runtime = model::Runtime { name: runtime.name, options: runtime.options.map(any_from_wire) };
        Event::ContainerCreate { id: m.id, image: m.image, runtime }
    },
    wire::ContainerUpdate as m => Event::ContainerUpdate {
        id: m.id,
        image: m.image,
        labels: m.labels,
        snapshot_key: m.snapshot_key,
    },
    wire::ContainerDelete as m => Event::ContainerDelete { id: m.id },
    wire::ContentCreate as m => {
        Event::ContentCreate { digest: m.digest, size: size_from_wire(m.size), media_type: m.media_type }
    },
    wire::ContentDelete as m => Event::ContentDelete { digest: m.digest },
    images::ImageCreate as m => Event::ImageCreate { name: m.name, labels: m.labels },
    images::ImageUpdate as m => Event::ImageUpdate { name: m.name, labels: m.labels },
    images::ImageDelete as m => Event::ImageDelete { name: m.name },
    wire::SnapshotPrepare as m => {
        Event::SnapshotPrepare { key: m.key, parent: m.parent, snapshotter: m.snapshotter }
    },
    wire::SnapshotCommit as m => Event::SnapshotCommit { key: m.key, name: m.name, snapshotter: m.snapshotter },
    wire::SnapshotRemove as m => Event::SnapshotRemove { key: m.key, snapshotter: m.snapshotter },
    wire::TaskCreate as m => {
        let io = m.io.unwrap_or_default();
        Event::TaskCreate(model::TaskCreate {
            container_id: m.container_id,
            bundle: m.bundle,
            rootfs: m.rootfs.into_iter().map(Into::into).collect(),
            io: TaskIo { stdin: io.stdin, stdout: io.stdout, stderr: io.stderr, terminal: io.terminal },
            checkpoint: m.checkpoint,
            pid: m.pid,
        })
    },
    wire::TaskStart as m => Event::TaskStart { container_id: m.container_id, pid: m.pid },
    wire::TaskOom as m => Event::TaskOom { container_id: m.container_id },
    wire::TaskExit as m => Event::TaskExit {
        container_id: m.container_id,
        id: m.id,
        pid: m.pid,
        exit_status: m.exit_status,
        exited_at: timestamp_from_wire(m.exited_at),
    },
    wire::TaskDelete as m => Event::TaskDelete {
        container_id: m.container_id,
        id: m.id,
        pid: m.pid,
        exit_status: m.exit_status,
        exited_at: timestamp_from_wire(m.exited_at),
    },
    wire::TaskExecAdded as m => Event::TaskExecAdded { container_id: m.container_id, exec_id: m.exec_id },
    wire::TaskExecStarted as m => {
        Event::TaskExecStarted { container_id: m.container_id, exec_id: m.exec_id, pid: m.pid }
    },
    wire::TaskPaused as m => Event::TaskPaused { container_id: m.container_id },
    wire::TaskResumed as m => Event::TaskResumed { container_id: m.container_id },
    wire::TaskCheckpointed as m => {
        Event::TaskCheckpointed { container_id: m.container_id, checkpoint: m.checkpoint }
    },
    wire::SandboxCreate as m => Event::SandboxCreate { sandbox_id: m.sandbox_id },
    wire::SandboxStart as m => Event::SandboxStart { sandbox_id: m.sandbox_id },
    wire::SandboxExit as m => Event::SandboxExit {
        sandbox_id: m.sandbox_id,
        exit_status: m.exit_status,
        exited_at: timestamp_from_wire(m.exited_at),
    },
}

#[cfg(test)]
mod tests {
    use super::*;
    use model::{Mount, Runtime, TaskCreate, Timestamp};

    fn every_event() -> Vec<Event> {
        let text = || "x".to_owned();
        let labels = || [("a".to_owned(), "b".to_owned())].into();
        let at = Timestamp { seconds: 5, nanos: 7 };
        let runtime = Runtime { name: text(), options: Some(model::Any { type_url: text(), value: vec![255] }) };
        vec![
            Event::NamespaceCreate { name: text(), labels: labels() },
            Event::NamespaceUpdate { name: text(), labels: labels() },
            Event::NamespaceDelete { name: text() },
            Event::ContainerCreate { id: text(), image: text(), runtime },
            Event::ContainerUpdate { id: text(), image: text(), labels: labels(), snapshot_key: text() },
            Event::ContainerDelete { id: text() },
            Event::ContentCreate { digest: text(), size: 9, media_type: text() },
            Event::ContentDelete { digest: text() },
            Event::ImageCreate { name: text(), labels: labels() },
            Event::ImageUpdate { name: text(), labels: labels() },
            Event::ImageDelete { name: text() },
            Event::SnapshotPrepare { key: text(), parent: text(), snapshotter: text() },
            Event::SnapshotCommit { key: text(), name: text(), snapshotter: text() },
            Event::SnapshotRemove { key: text(), snapshotter: text() },
            Event::TaskCreate(TaskCreate {
                container_id: text(),
                rootfs: vec![Mount { fs_type: "overlay".into(), ..Mount::default() }],
                pid: 3,
                ..TaskCreate::default()
            }),
            Event::TaskStart { container_id: text(), pid: 1 },
            Event::TaskOom { container_id: text() },
            Event::TaskExit { container_id: text(), id: text(), pid: 1, exit_status: 2, exited_at: at },
            Event::TaskDelete { container_id: text(), id: text(), pid: 1, exit_status: 2, exited_at: at },
            Event::TaskExecAdded { container_id: text(), exec_id: text() },
            Event::TaskExecStarted { container_id: text(), exec_id: text(), pid: 1 },
            Event::TaskPaused { container_id: text() },
            Event::TaskResumed { container_id: text() },
            Event::TaskCheckpointed { container_id: text(), checkpoint: text() },
            Event::SandboxCreate { sandbox_id: text() },
            Event::SandboxStart { sandbox_id: text() },
            Event::SandboxExit { sandbox_id: text(), exit_status: 1, exited_at: at },
        ]
    }

    #[test]
    fn every_event_survives_the_wire_under_containerds_name() {
        let events = every_event();
        assert_eq!(events.len(), READERS.len());
        for event in events {
            let any = event_to_wire(event.clone());
            let package = if event.topic().starts_with("/images/") {
                "containerd.services.images.v1."
            } else {
                "containerd.events."
            };
            assert!(any.type_url.starts_with(package), "{}", any.type_url);
            assert_eq!(event_from_wire(&any), Some(event));
        }
    }

    #[test]
    fn foreign_or_broken_events_are_none() {
        assert_eq!(event_from_wire(&Any { type_url: "moby.Event".into(), value: vec![] }), None);
        assert_eq!(event_from_wire(&Any { type_url: "containerd.events.TaskExit".into(), value: vec![255] }), None);
    }
}
