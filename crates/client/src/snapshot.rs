//! Snapshots: which snapshotter, and the calls whose answers need unwrapping.

use crate::{Client, Reply};
use model::{Error, Result};
use proto::api::containerd::services::introspection::v1::PluginsRequest;
use proto::api::containerd::services::namespaces::v1::GetNamespaceRequest;
use proto::api::containerd::services::snapshots::v1::{Info, StatSnapshotRequest};

/// Used where neither the caller nor the namespace says otherwise.
const DEFAULT_SNAPSHOTTER: &str = "overlayfs";

/// The namespace's own default.
const DEFAULT_LABEL: &str = "containerd.io/defaults/snapshotter";

impl Client {
    /// The snapshotter to use: `name` if given, else the namespace's default, else overlayfs.
    pub async fn snapshotter(&self, name: Option<&str>) -> Result<String> {
        if let Some(name) = name.filter(|name| !name.is_empty()) {
            return Ok(name.to_owned());
        }
        let request = GetNamespaceRequest { name: self.namespace().to_string() };
        let labels = match self.namespaces().get(request).await.reply() {
            Ok(reply) => reply.namespace.unwrap_or_default().labels,
            Err(error) if error.is_not_found() => Default::default(),
            Err(error) => return Err(error),
        };
        Ok(labels.get(DEFAULT_LABEL).cloned().unwrap_or_else(|| DEFAULT_SNAPSHOTTER.to_owned()))
    }

    /// What snapshotter `name` says it can do (`rebase`, `remap-ids`, …).
    pub async fn snapshotter_capabilities(&self, name: &str) -> Result<Vec<String>> {
        let filters = vec![format!("type==io.containerd.snapshotter.v1,id=={name}")];
        let reply = self.introspection().plugins(PluginsRequest { filters }).await.reply()?;
        Ok(reply.plugins.into_iter().next().map(|plugin| plugin.capabilities).unwrap_or_default())
    }

    /// What is known of snapshot `key`.
    pub async fn snapshot_info(&self, snapshotter: &str, key: &str) -> Result<Info> {
        let request = StatSnapshotRequest { snapshotter: snapshotter.to_owned(), key: key.to_owned() };
        let reply = self.snapshots().stat(request).await.reply()?;
        reply.info.ok_or_else(|| Error::internal(format!("snapshot {key}: the daemon's answer has no info")))
    }

    /// Whether snapshot `key` exists.
    pub async fn has_snapshot(&self, snapshotter: &str, key: &str) -> Result<bool> {
        match self.snapshot_info(snapshotter, key).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }
}
