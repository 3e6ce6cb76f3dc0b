//! `ctr snapshots commit`

use super::Target;
use crate::context::rfc3339_in;
use crate::failure::Outcome;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::snapshots::v1::CommitSnapshotRequest;
use std::time::Duration;

/// Flags of `ctr snapshots commit`.
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// Name of the committed snapshot
    key: String,
    /// The active snapshot
    active: String,
}

impl Commit {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let request = CommitSnapshotRequest {
            snapshotter: target.snapshotter.clone(),
            name: self.key,
            key: self.active,
            // Held by itself: nothing refers to it yet.
            labels: [("containerd.io/gc.root".to_owned(), rfc3339_in(Duration::ZERO))].into(),
            parent: String::new(),
        };
        target.client.snapshots().commit(request).await.reply()?;
        Ok(())
    }
}
