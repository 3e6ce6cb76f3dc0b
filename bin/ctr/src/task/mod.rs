//! Running processes: their I/O, signals and exit.

mod console;
mod copy;
mod pipes;
mod process;
mod session;
mod signals;

pub(crate) use console::Console;
pub(crate) use pipes::{Pipes, Stdio, remove_kept};
pub(crate) use process::Process;
pub(crate) use session::{Attached, Session};
pub(crate) use signals::parse_signal;

use client::{Client, Reply as _};
use model::{Error, Result};
use proto::api::containerd::services::containers::v1::Container;
use proto::api::containerd::services::snapshots::v1::MountsRequest;
use proto::api::containerd::services::tasks::v1::{CreateTaskRequest, GetRequest};
use proto::api::containerd::types::Descriptor;
use proto::api::containerd::v1::types::Process as Status;
use serde_json::Value;

/// What is known of a running container, or of one of its processes.
pub(crate) async fn status(client: &Client, id: &str, exec_id: &str) -> Result<Status> {
    let request = GetRequest { container_id: id.to_owned(), exec_id: exec_id.to_owned() };
    let reply = client.tasks().get(request).await.reply().map_err(|error| match error.is_not_found() {
        true if exec_id.is_empty() => error.context(format!("container {id:?} is not running (see `ctr tasks ls`)")),
        _ => error,
    })?;
    reply.process.ok_or_else(|| Error::internal(format!("task {id:?}: the daemon's answer has no process")))
}

/// Creates the task of a container, new or from a checkpoint of its processes: everything but the start. Returns its
/// pid.
pub(crate) async fn create(
    client: &Client,
    container: &Container,
    spec: &Value,
    pipes: &Pipes,
    no_pivot: bool,
    checkpoint: Option<Descriptor>,
) -> Result<u32> {
    let rootfs = if container.snapshot_key.is_empty() {
        Vec::new()
    } else {
        let request = MountsRequest { snapshotter: container.snapshotter.clone(), key: container.snapshot_key.clone() };
        client.snapshots().mounts(request).await.reply()?.mounts
    };
    let request = CreateTaskRequest {
        container_id: container.id.clone(),
        rootfs,
        stdin: pipes.stdin(),
        stdout: pipes.stdout(),
        stderr: pipes.stderr(),
        terminal: crate::container::has_terminal(spec) && pipes.is_terminal(),
        options: options(container, spec, no_pivot)?,
        checkpoint,
        ..CreateTaskRequest::default()
    };
    Ok(client.tasks().create(request).await.reply()?.pid)
}

/// The container's own runtime options, changed for this start.
fn options(container: &Container, spec: &Value, no_pivot: bool) -> Result<Option<proto::Any>> {
    use proto::api::containerd::runc::v1::Options;
    let runtime = container.runtime.clone().unwrap_or_default();
    let owner = |mappings: &str| spec["linux"][mappings][0]["hostID"].as_u64().and_then(|id| u32::try_from(id).ok());
    let (uid, gid) = (owner("uidMappings"), owner("gidMappings"));
    if (!no_pivot && uid.is_none() && gid.is_none()) || runtime.name != crate::flags::RUNC {
        return Ok(None);
    }
    let mut options = match &runtime.options {
        Some(any) => prost::Message::decode(any.value.as_slice()).map_err(|error: prost::DecodeError| {
            Error::invalid_argument(format!("container {:?} has broken runtime options", container.id)).caused_by(error)
        })?,
        None => Options::default(),
    };
    options.no_pivot_root |= no_pivot;
    options.io_uid = uid.unwrap_or(options.io_uid);
    options.io_gid = gid.unwrap_or(options.io_gid);
    Ok(Some(client::any(&options)))
}
