//! Container records: what `run` and `containers create` make, and how containers are found and removed.

mod create;
mod flags;
mod mounts;
mod spec;

pub(crate) use create::{create, mount_of, target_of_args, write_pid_file};
pub(crate) use flags::{ContainerFlags, RunFlags};

use client::{Client, Reply as _};
use model::{Error, Result};
use proto::api::containerd::services::containers::v1::{Container, DeleteContainerRequest, GetContainerRequest};
use proto::api::containerd::services::snapshots::v1::RemoveSnapshotRequest;
use serde_json::Value;

/// The record of container `id`.
pub(crate) async fn load(client: &Client, id: &str) -> Result<Container> {
    let reply = client.containers().get(GetContainerRequest { id: id.to_owned() }).await.reply()?;
    reply.container.ok_or_else(|| Error::internal(format!("container {id:?}: the daemon's answer has none")))
}

/// Its runtime spec as JSON.
pub(crate) fn spec_of(container: &Container) -> Result<Value> {
    let spec = container.spec.as_ref();
    let spec = spec.ok_or_else(|| Error::failed_precondition(format!("container {:?} has no spec", container.id)))?;
    serde_json::from_slice(&spec.value).map_err(|error| {
        Error::invalid_argument(format!("container {:?} has a spec that is not JSON", container.id)).caused_by(error)
    })
}

/// Whether its process has a terminal.
pub(crate) fn has_terminal(spec: &Value) -> bool {
    spec["process"]["terminal"].as_bool().unwrap_or(false)
}

/// Removes the record, and with it the snapshot of its root filesystem.
pub(crate) async fn delete(client: &Client, container: &Container, keep_snapshot: bool) -> Result<()> {
    if !keep_snapshot && !container.snapshot_key.is_empty() {
        let request =
            RemoveSnapshotRequest { snapshotter: container.snapshotter.clone(), key: container.snapshot_key.clone() };
        match client.snapshots().remove(request).await.reply() {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
    }
    client.containers().delete(DeleteContainerRequest { id: container.id.clone() }).await.reply()
}
