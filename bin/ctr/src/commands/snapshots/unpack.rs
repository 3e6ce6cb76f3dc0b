//! `ctr snapshots unpack`

use super::Target;
use crate::failure::Outcome;
use crate::flags::SnapshotterFlag;
use crate::output::line;
use clap::Args;
use client::{Client, Platforms, Silent, Unpacker};
use model::{Digest, Error};
use std::sync::Arc;

/// Flags of `ctr snapshots unpack`.
#[derive(Debug, Args)]
pub(crate) struct Unpack {
    /// Synchronize the underlying filesystem containing files when unpack images
    #[arg(long)]
    sync_fs: bool,
    #[command(flatten)]
    snapshotter: SnapshotterFlag,
    /// Digest of an image's manifest or index
    digest: String,
}

impl Unpack {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let digest: Digest = self.digest.parse()?;
        let filters = vec![format!("target.digest=={digest}")];
        let images = target.client.list_images(filters).await?;
        let image = images.first().ok_or_else(|| {
            Error::not_found(format!("manifest not found: no image points to {digest} (see `ctr images ls`)"))
        })?;
        let image = client::target_of(image)?;
        let snapshotter = self.snapshotter.name().unwrap_or(&target.snapshotter);
        let unpack = async |client: Client| {
            let content = client.image_content(&image, &Platforms::host()).await?;
            let unpacker = Unpacker::new(&client, Some(snapshotter), self.sync_fs, Arc::new(Silent)).await?;
            unpacker.unpack(&content).await
        };
        target.client.under_lease(unpack).await?;
        line(format!("unpacking {digest} ({})...done", image.media_type))
    }
}
