//! `ctr snapshots label`

use super::Target;
use crate::failure::Outcome;
use crate::flags::{LabelArgs, joined};
use crate::output::line;
use clap::Args;
use client::{Reply as _, label_mask};
use proto::api::containerd::services::snapshots::v1::{Info, UpdateSnapshotRequest};

/// Flags of `ctr snapshots label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The snapshot
    name: String,
    #[command(flatten)]
    labels: LabelArgs,
}

impl Label {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let labels = self.labels.get();
        if labels.is_empty() {
            return line(joined(&target.client.snapshot_info(&target.snapshotter, &self.name).await?.labels));
        }
        let update_mask = Some(label_mask(&labels));
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let request = UpdateSnapshotRequest {
            snapshotter: target.snapshotter.clone(),
            info: Some(Info { name: self.name, labels, ..Info::default() }),
            update_mask,
        };
        let updated = target.client.snapshots().update(request).await.reply()?.info.unwrap_or_default();
        line(joined(&updated.labels))
    }
}
