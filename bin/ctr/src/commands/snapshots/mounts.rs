//! `ctr snapshots mounts`

use super::{Target, mount_commands};
use crate::container::mount_of;
use crate::failure::Outcome;
use crate::output::print;
use clap::Args;
use client::Reply as _;
use model::Error;
use proto::api::containerd::services::snapshots::v1::MountsRequest;

/// Flags of `ctr snapshots mounts`.
#[derive(Debug, Args)]
pub(crate) struct Mounts {
    /// Mounts the snapshot mounts as a temp mount and returns a bind mount (not yet supported)
    #[arg(long)]
    temp: bool,
    /// Where they would be mounted
    target: String,
    /// The snapshot
    key: String,
}

impl Mounts {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        if self.temp {
            return Err(Error::unimplemented("--temp is not yet supported").into());
        }
        let request = MountsRequest { snapshotter: target.snapshotter.clone(), key: self.key };
        let mounts = target.client.snapshots().mounts(request).await.reply()?.mounts;
        let mounts: Vec<_> = mounts.into_iter().map(mount_of).collect();
        print(&mount_commands(&self.target, &mounts))
    }
}
