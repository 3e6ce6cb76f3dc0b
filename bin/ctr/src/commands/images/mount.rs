//! `ctr images mount`

use crate::cli::parse_duration;
use crate::container::mount_of;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::SnapshotterFlag;
use crate::output::line;
use crate::registry::UnusedFlags;
use clap::Args;
use client::{Client, Platforms, Reply as _, Silent, Unpacker, unique_part};
use model::{Error, Result};
use proto::api::containerd::services::leases::v1::DeleteRequest;
use proto::api::containerd::services::snapshots::v1::{
    MountsRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, ViewSnapshotRequest,
};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// Flags of `ctr images mount`.
#[derive(Debug, Args)]
#[command(long_about = "Mount an image rootfs to a specified path.\n\nWhen you are done, use the unmount command.")]
pub(crate) struct Mount {
    /// Enable write support on the mount
    #[arg(long)]
    rw: bool,
    /// Mount the image for the specified platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Option<String>,
    /// Synchronize the underlying filesystem containing files when unpack images
    #[arg(long)]
    sync_fs: bool,
    /// Set the expiration time for the mount and snapshots
    #[arg(long, short = 'x', default_value = "24h", value_name = "DURATION", value_parser = parse_duration)]
    expiration: Duration,
    #[command(flatten)]
    snapshotter: SnapshotterFlag,
    /// The image
    #[arg(value_name = "REF")]
    image: String,
    /// Where to mount it
    target: Option<String>,
    // Last: those behind it would come under its heading.
    #[command(flatten)]
    _unused: UnusedFlags,
}

impl Mount {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let key = self.target.clone().unwrap_or_else(|| format!("ctr-images-mount-{}", unique_part()));
        // The lease holds the snapshot; `unmount --rm` finds both by the key.
        let created = match client.create_lease(Some(&key), Some(self.expiration)).await {
            Ok(_) => true,
            Err(error) if error.is_already_exists() => false,
            Err(error) => return Err(error.into()),
        };
        let mounted = Box::pin(self.mount(&client.with_lease(&key)?, &key)).await;
        if mounted.is_err() && created {
            // What failed is what gets reported.
            let _ = client.leases().delete(DeleteRequest { id: key, sync: false }).await;
        }
        let (chain_id, target) = mounted?;
        line(chain_id)?;
        line(target)
    }

    async fn mount(&self, client: &Client, key: &str) -> Result<(String, String)> {
        let platforms = Platforms::parse_or_host(self.platform.as_deref())?;
        let image = client.image_content(&client.image_target(&self.image).await?, &platforms).await?;
        let unpacker = Unpacker::new(client, self.snapshotter.name(), self.sync_fs, Arc::new(Silent)).await?;
        let chain_id = unpacker.unpack(&image).await.map_err(|error| error.context("error unpacking image"))?;
        let parent = chain_id.map(|chain_id| chain_id.to_string()).unwrap_or_default();
        let snapshotter = unpacker.snapshotter().to_owned();
        let (key, labels) = (key.to_owned(), Default::default());
        let mounts = if self.rw {
            let request = PrepareSnapshotRequest {
                snapshotter: snapshotter.clone(),
                key: key.clone(),
                parent: parent.clone(),
                labels,
            };
            client.snapshots().prepare(request).await.reply().map(|reply| reply.mounts)
        } else {
            let request = ViewSnapshotRequest {
                snapshotter: snapshotter.clone(),
                key: key.clone(),
                parent: parent.clone(),
                labels,
            };
            client.snapshots().view(request).await.reply().map(|reply| reply.mounts)
        };
        let mounts = match mounts {
            Err(error) if error.is_already_exists() => {
                let request = MountsRequest { snapshotter: snapshotter.clone(), key: key.clone() };
                client.snapshots().mounts(request).await.reply()?.mounts
            }
            mounts => mounts?,
        };
        let mounts: Vec<model::Mount> = mounts.into_iter().map(mount_of).collect();
        let target = match (&self.target, &mounts[..]) {
            (Some(target), _) => {
                if let Err(error) = sys::mount::mount_all(&mounts, Path::new(target)) {
                    let _ = client.snapshots().remove(RemoveSnapshotRequest { snapshotter, key }).await;
                    return Err(error.context(format!("failed to mount {}", self.image)));
                }
                target.clone()
            }
            (None, [bind]) if bind.fs_type == "bind" => bind.source.clone(),
            (None, _) => {
                let text = "this snapshotter's mounts cannot be used in place: give a folder to mount them on";
                return Err(Error::invalid_argument(text));
            }
        };
        Ok((parent, target))
    }
}
