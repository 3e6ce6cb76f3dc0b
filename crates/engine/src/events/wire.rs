//! containerd's event messages ⇄ [`Event`], which alone knows a message's fields.
//!
//! The type URL is the bare full name of the message. Shims may publish messages of their own:
//! those pass through as they are, and no filter sees into them.

use model::{Any, Event, Labels, Mount, Runtime, TaskCreate, TaskIo, Timestamp};
use prost::{Message, Name};
use proto::api::containerd::{events as wire, events::container_create, services::images::v1 as images, types};

fn any<M: Message + Name>(message: &M) -> Any {
    Any { type_url: M::full_name(), value: message.encode_to_vec() }
}

fn time_to_wire(time: Timestamp) -> Option<prost_types::Timestamp> {
    // Nanoseconds are below 10⁹ and so below 2³¹.
    Some(prost_types::Timestamp { seconds: time.seconds, nanos: time.nanos.cast_signed() })
}

fn time_from_wire(time: Option<prost_types::Timestamp>) -> Timestamp {
    let time = time.unwrap_or_default();
    Timestamp { seconds: time.seconds, nanos: time.nanos.max(0).cast_unsigned() }
}

fn labels(labels: Labels) -> std::collections::HashMap<String, String> {
    labels.into_iter().collect()
}

/// The message of `event`.
pub(super) fn encode(event: Event) -> Any {
    match event {
        Event::NamespaceCreate { name, labels: l } => any(&wire::NamespaceCreate { name, labels: labels(l) }),
        Event::NamespaceUpdate { name, labels: l } => any(&wire::NamespaceUpdate { name, labels: labels(l) }),
        Event::NamespaceDelete { name } => any(&wire::NamespaceDelete { name }),
        Event::ContainerCreate { id, image, runtime } => any(&wire::ContainerCreate {
            id,
            image,
            runtime: Some(container_create::Runtime {
                name: runtime.name,
                options: runtime.options.map(|any| prost_types::Any { type_url: any.type_url, value: any.value }),
            }),
        }),
        Event::ContainerUpdate { id, image, labels: l, snapshot_key } => {
            any(&wire::ContainerUpdate { id, image, labels: labels(l), snapshot_key })
        }
        Event::ContainerDelete { id } => any(&wire::ContainerDelete { id }),
        Event::ContentCreate { digest, size, media_type } => {
            any(&wire::ContentCreate { digest, size: i64::try_from(size).unwrap_or(i64::MAX), media_type })
        }
        Event::ContentDelete { digest } => any(&wire::ContentDelete { digest }),
        Event::ImageCreate { name, labels: l } => any(&images::ImageCreate { name, labels: labels(l) }),
        Event::ImageUpdate { name, labels: l } => any(&images::ImageUpdate { name, labels: labels(l) }),
        Event::ImageDelete { name } => any(&images::ImageDelete { name }),
        Event::SnapshotPrepare { key, parent, snapshotter } => any(&wire::SnapshotPrepare { key, parent, snapshotter }),
        Event::SnapshotCommit { key, name, snapshotter } => any(&wire::SnapshotCommit { key, name, snapshotter }),
        Event::SnapshotRemove { key, snapshotter } => any(&wire::SnapshotRemove { key, snapshotter }),
        Event::SandboxCreate { sandbox_id } => any(&wire::SandboxCreate { sandbox_id }),
        Event::SandboxStart { sandbox_id } => any(&wire::SandboxStart { sandbox_id }),
        Event::SandboxExit { sandbox_id, exit_status, exited_at } => {
            any(&wire::SandboxExit { sandbox_id, exit_status, exited_at: time_to_wire(exited_at) })
        }
        task => encode_task(task),
    }
}

fn encode_task(event: Event) -> Any {
    match event {
        Event::TaskCreate(task) => any(&wire::TaskCreate {
            container_id: task.container_id,
            bundle: task.bundle,
            rootfs: task.rootfs.into_iter().map(client::shim::mount).collect(),
            io: Some(wire::TaskIo {
                stdin: task.io.stdin,
                stdout: task.io.stdout,
                stderr: task.io.stderr,
                terminal: task.io.terminal,
            }),
            checkpoint: task.checkpoint,
            pid: task.pid,
        }),
        Event::TaskStart { container_id, pid } => any(&wire::TaskStart { container_id, pid }),
        Event::TaskOom { container_id } => any(&wire::TaskOom { container_id }),
        Event::TaskExit { container_id, id, pid, exit_status, exited_at } => {
            any(&wire::TaskExit { container_id, id, pid, exit_status, exited_at: time_to_wire(exited_at) })
        }
        Event::TaskDelete { container_id, id, pid, exit_status, exited_at } => {
            any(&wire::TaskDelete { container_id, id, pid, exit_status, exited_at: time_to_wire(exited_at) })
        }
        Event::TaskExecAdded { container_id, exec_id } => any(&wire::TaskExecAdded { container_id, exec_id }),
        Event::TaskExecStarted { container_id, exec_id, pid } => {
            any(&wire::TaskExecStarted { container_id, exec_id, pid })
        }
        Event::TaskPaused { container_id } => any(&wire::TaskPaused { container_id }),
        Event::TaskResumed { container_id } => any(&wire::TaskResumed { container_id }),
        Event::TaskCheckpointed { container_id, checkpoint } => {
            any(&wire::TaskCheckpointed { container_id, checkpoint })
        }
        // `encode` has taken every other variant.
        _ => Any::default(),
    }
}

/// One known message: its name, and how it decodes.
type Decoder = (fn() -> String, fn(&[u8]) -> Option<Event>);

macro_rules! decoders {
    ($($module:ident::$message:ident { $($field:ident),* } => $event:expr;)*) => {
        const DECODERS: &[Decoder] = &[$(
            (<$module::$message as Name>::full_name, |bytes| {
                let $module::$message { $($field,)* .. } = Message::decode(bytes).ok()?;
                Some($event)
            }),
        )*];
    };
}

decoders! {
    wire::NamespaceCreate { name, labels } => Event::NamespaceCreate { name, labels: labels.into_iter().collect() };
    wire::NamespaceUpdate { name, labels } => Event::NamespaceUpdate { name, labels: labels.into_iter().collect() };
    wire::NamespaceDelete { name } => Event::NamespaceDelete { name };
    wire::ContainerCreate { id, image, runtime } => Event::ContainerCreate { id, image, runtime: runtime_from_wire(runtime) };
    wire::ContainerUpdate { id, image, labels, snapshot_key } => {
        Event::ContainerUpdate { id, image, labels: labels.into_iter().collect(), snapshot_key }
    };
    wire::ContainerDelete { id } => Event::ContainerDelete { id };
    wire::ContentCreate { digest, size, media_type } => {
        Event::ContentCreate { digest, size: size.max(0).cast_unsigned(), media_type }
    };
    wire::ContentDelete { digest } => Event::ContentDelete { digest };
    images::ImageCreate { name, labels } => Event::ImageCreate { name, labels: labels.into_iter().collect() };
    images::ImageUpdate { name, labels } => Event::ImageUpdate { name, labels: labels.into_iter().collect() };
    images::ImageDelete { name } => Event::ImageDelete { name };
    wire::SnapshotPrepare { key, parent, snapshotter } => Event::SnapshotPrepare { key, parent, snapshotter };
    wire::SnapshotCommit { key, name, snapshotter } => Event::SnapshotCommit { key, name, snapshotter };
    wire::SnapshotRemove { key, snapshotter } => Event::SnapshotRemove { key, snapshotter };
    wire::SandboxCreate { sandbox_id } => Event::SandboxCreate { sandbox_id };
    wire::SandboxStart { sandbox_id } => Event::SandboxStart { sandbox_id };
    wire::SandboxExit { sandbox_id, exit_status, exited_at } => {
        Event::SandboxExit { sandbox_id, exit_status, exited_at: time_from_wire(exited_at) }
    };
    wire::TaskCreate { container_id, bundle, rootfs, io, checkpoint, pid } => Event::TaskCreate(TaskCreate {
        container_id,
        bundle,
        rootfs: rootfs.into_iter().map(mount_from_wire).collect(),
        io: io_from_wire(io),
        checkpoint,
        pid,
    });
    wire::TaskStart { container_id, pid } => Event::TaskStart { container_id, pid };
    wire::TaskOom { container_id } => Event::TaskOom { container_id };
    wire::TaskExit { container_id, id, pid, exit_status, exited_at } => {
        Event::TaskExit { container_id, id, pid, exit_status, exited_at: time_from_wire(exited_at) }
    };
    wire::TaskDelete { container_id, id, pid, exit_status, exited_at } => {
        Event::TaskDelete { container_id, id, pid, exit_status, exited_at: time_from_wire(exited_at) }
    };
    wire::TaskExecAdded { container_id, exec_id } => Event::TaskExecAdded { container_id, exec_id };
    wire::TaskExecStarted { container_id, exec_id, pid } => Event::TaskExecStarted { container_id, exec_id, pid };
    wire::TaskPaused { container_id } => Event::TaskPaused { container_id };
    wire::TaskResumed { container_id } => Event::TaskResumed { container_id };
    wire::TaskCheckpointed { container_id, checkpoint } => Event::TaskCheckpointed { container_id, checkpoint };
}

/// The event in `message`, if it is one of containerd's and well-formed.
pub(super) fn decode(message: &Any) -> Option<Event> {
    let (_, decode) = DECODERS.iter().find(|(name, _)| name() == message.type_url)?;
    decode(&message.value)
}

fn runtime_from_wire(runtime: Option<container_create::Runtime>) -> Runtime {
    let runtime = runtime.unwrap_or_default();
    let options = runtime.options.map(|any| Any { type_url: any.type_url, value: any.value });
    Runtime { name: runtime.name, options }
}

fn mount_from_wire(mount: types::Mount) -> Mount {
    Mount { fs_type: mount.r#type, source: mount.source, target: mount.target, options: mount.options }
}

fn io_from_wire(io: Option<wire::TaskIo>) -> TaskIo {
    let io = io.unwrap_or_default();
    TaskIo { stdin: io.stdin, stdout: io.stdout, stderr: io.stderr, terminal: io.terminal }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_survive_the_wire_under_containerds_names() {
        let exit = Event::TaskExit {
            container_id: "c".into(),
            id: "e".into(),
            pid: 7,
            exit_status: 137,
            exited_at: Timestamp { seconds: 5, nanos: 6 },
        };
        let create = Event::TaskCreate(TaskCreate {
            container_id: "c".into(),
            bundle: "/b".into(),
            rootfs: vec![Mount { fs_type: "overlay".into(), ..Mount::default() }],
            io: TaskIo { stdout: "/fifo".into(), ..TaskIo::default() },
            checkpoint: String::new(),
            pid: 9,
        });
        let image = Event::ImageCreate { name: "i".into(), labels: [("k".into(), "v".into())].into() };
        for (event, name) in [
            (exit, "containerd.events.TaskExit"),
            (create, "containerd.events.TaskCreate"),
            (image, "containerd.services.images.v1.ImageCreate"),
        ] {
            let message = encode(event.clone());
            assert_eq!(message.type_url, name);
            assert_eq!(decode(&message), Some(event));
        }
        assert_eq!(decode(&Any { type_url: "io.kata.Event".into(), value: vec![1] }), None);
        assert_eq!(decode(&Any { type_url: "containerd.events.TaskExit".into(), value: vec![0xff] }), None);
        assert_eq!(DECODERS.len(), 27, "one for each variant of Event");
    }
}
