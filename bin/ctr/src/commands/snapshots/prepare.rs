//! `ctr snapshots prepare` and `view`

use super::{Target, mount_commands};
use crate::container::mount_of;
use crate::context::rfc3339_in;
use crate::failure::Outcome;
use crate::output::{print, print_json};
use clap::Args;
use client::Reply as _;
use model::Mount;
use proto::api::containerd::services::snapshots::v1::{PrepareSnapshotRequest, ViewSnapshotRequest};
use serde_json::{Value, json};
use std::time::Duration;

/// Flags of both.
#[derive(Debug, Args)]
struct Flags {
    /// Mount target path, will print mount, if provided
    #[arg(short, long, value_name = "DIR")]
    target: Option<String>,
    /// Print out snapshot mounts as JSON
    #[arg(long)]
    mounts: bool,
    /// The new snapshot
    key: String,
    /// What it is based on
    parent: Option<String>,
}

/// Flags of `ctr snapshots prepare`.
#[derive(Debug, Args)]
pub(crate) struct Prepare {
    #[command(flatten)]
    flags: Flags,
}

/// Flags of `ctr snapshots view`.
#[derive(Debug, Args)]
pub(crate) struct View {
    #[command(flatten)]
    flags: Flags,
}

impl Prepare {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let request = PrepareSnapshotRequest {
            snapshotter: target.snapshotter.clone(),
            key: self.flags.key.clone(),
            parent: self.flags.parent.clone().unwrap_or_default(),
            // Held by itself: nothing refers to it yet.
            labels: [("containerd.io/gc.root".to_owned(), rfc3339_in(Duration::ZERO))].into(),
        };
        let mounts = target.client.snapshots().prepare(request).await.reply()?.mounts;
        self.flags.print(mounts.into_iter().map(mount_of).collect())
    }
}

impl View {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let request = ViewSnapshotRequest {
            snapshotter: target.snapshotter.clone(),
            key: self.flags.key.clone(),
            parent: self.flags.parent.clone().unwrap_or_default(),
            labels: Default::default(),
        };
        let mounts = target.client.snapshots().view(request).await.reply()?.mounts;
        self.flags.print(mounts.into_iter().map(mount_of).collect())
    }
}

impl Flags {
    fn print(&self, mounts: Vec<Mount>) -> Outcome {
        if let Some(target) = &self.target {
            print(&mount_commands(target, &mounts))?;
        }
        if self.mounts {
            let mounts = mounts.into_iter().map(|mount| {
                json!({"Type": mount.fs_type, "Source": mount.source, "Target": mount.target, "Options": mount.options})
            });
            print_json(&mounts.collect::<Vec<Value>>())?;
        }
        Ok(())
    }
}
