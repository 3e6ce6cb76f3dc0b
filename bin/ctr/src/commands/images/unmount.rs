//! `ctr images unmount`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::SnapshotterFlag;
use crate::output::line;
use crate::registry::UnusedFlags;
use clap::Args;
use client::Reply as _;
use model::Result;
use proto::api::containerd::services::leases::v1::DeleteRequest;
use proto::api::containerd::services::snapshots::v1::RemoveSnapshotRequest;
use std::path::Path;
use sys::mount::{Unmount as How, unmount_all};

/// Flags of `ctr images unmount`.
#[derive(Debug, Args)]
pub(crate) struct Unmount {
    /// Remove the snapshot after a successful unmount
    #[arg(long)]
    rm: bool,
    #[command(flatten)]
    snapshotter: SnapshotterFlag,
    /// Where the image is mounted
    target: String,
    // Last: those behind it would come under its heading.
    #[command(flatten)]
    _unused: UnusedFlags,
}

impl Unmount {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        unmount_all(Path::new(&self.target), How::WhenIdle)?;
        if self.rm {
            let snapshotter = client.snapshotter(self.snapshotter.name()).await?;
            let lease = client.leases().delete(DeleteRequest { id: self.target.clone(), sync: false }).await.reply();
            or_gone(lease).map_err(|error| error.context("error deleting lease"))?;
            let request = RemoveSnapshotRequest { snapshotter, key: self.target.clone() };
            let snapshot = client.snapshots().remove(request).await.reply();
            or_gone(snapshot).map_err(|error| error.context("error removing snapshot"))?;
        }
        line(self.target)
    }
}

/// What is gone already need not be removed.
fn or_gone(result: Result<()>) -> Result<()> {
    match result {
        Err(error) if error.is_not_found() => Ok(()),
        result => result,
    }
}
