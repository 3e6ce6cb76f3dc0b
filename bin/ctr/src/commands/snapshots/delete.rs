//! `ctr snapshots delete`

use super::Target;
use crate::failure::Outcome;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::snapshots::v1::RemoveSnapshotRequest;

/// Flags of `ctr snapshots delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The snapshots
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
}

impl Delete {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        for key in self.keys {
            let request = RemoveSnapshotRequest { snapshotter: target.snapshotter.clone(), key: key.clone() };
            let removed = target.client.snapshots().remove(request).await.reply();
            removed.map_err(|error| error.context(format!("failed to remove {key:?}")))?;
        }
        Ok(())
    }
}
