//! `ctr snapshots info`

use super::{Target, kind_name};
use crate::failure::Outcome;
use crate::output::{print_json, timestamp_nanos};
use clap::Args;
use proto::api::containerd::services::snapshots::v1::Info as Snapshot;
use serde_json::{Value, json};

/// Flags of `ctr snapshots info`.
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// The snapshot
    key: String,
}

impl Info {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        print_json(&document(&target.client.snapshot_info(&target.snapshotter, &self.key).await?))
    }
}

/// A snapshot under the names of Go's `snapshots.Info`.
pub(super) fn document(snapshot: &Snapshot) -> Value {
    let mut document = json!({"Kind": kind_name(snapshot.kind), "Name": snapshot.name});
    if !snapshot.parent.is_empty() {
        document["Parent"] = json!(snapshot.parent);
    }
    if !snapshot.labels.is_empty() {
        document["Labels"] = json!(snapshot.labels);
    }
    document["Created"] = json!(timestamp_nanos(snapshot.created_at.as_ref()));
    document["Updated"] = json!(timestamp_nanos(snapshot.updated_at.as_ref()));
    document
}
