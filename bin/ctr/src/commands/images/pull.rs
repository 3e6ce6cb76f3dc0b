//! `ctr images pull`

use crate::commands::content::Fetching;
use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::SnapshotterFlag;
use crate::output::line;
use crate::registry::{Metadata, RegistryFlags, Selection, object_reference};
use clap::Args;
use client::oci::{Descriptor, Platform};
use client::transfer::{Endpoint, Store, Unpack};
use client::{Client, ImageContent, Platforms, Unpacker};
use model::{Error, Result};
use std::sync::Arc;

/// Flags of `ctr images pull`.
#[derive(Debug, Args)]
#[command(long_about = "Fetch and prepare an image for use in containerd.\n\n\
    After pulling an image, it should be ready to use the same reference in a run command: its content is fetched, \
    its layers are unpacked, and its name is recorded.\n\n\
    The daemon does it; with --local, or with a flag that the daemon's transfer service does not know, ctr does.")]
pub(crate) struct Pull {
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    snapshotter: SnapshotterFlag,
    #[command(flatten)]
    selection: Selection,
    /// Print the resulting image's chain ID
    #[arg(long)]
    print_chainid: bool,
    /// Set the max concurrent downloads for each pull
    #[arg(long, value_name = "COUNT")]
    max_concurrent_downloads: Option<usize>,
    /// Fetch content from local client rather than using transfer service
    #[arg(long)]
    local: bool,
    /// Synchronize the underlying filesystem containing files when unpack images
    #[arg(long)]
    sync_fs: bool,
    /// The image's full name, such as docker.io/library/busybox:latest
    #[arg(value_name = "REF")]
    reference: String,
}

impl Pull {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        object_reference(&self.reference)?;
        let client = context.connect().await?;
        if self.selection.all_platforms && self.selection.names_platforms() {
            return Err(Error::invalid_argument("cannot specify both --platform and --all-platforms").into());
        }
        let platforms = self.selection.platforms()?;
        match self.needs_local() {
            None => self.transfer(&client, &platforms).await?,
            Some(flag) => {
                context.debug(&format!("ctr pulls by itself, for {flag}"));
                self.carry(&client, &platforms).await?;
            }
        }
        if self.print_chainid { self.chain_ids(&client, &platforms).await } else { Ok(()) }
    }

    /// The flag for which ctr has to do the work: the Transfer service has no words for it.
    fn needs_local(&self) -> Option<&'static str> {
        match self.registry.only_local() {
            _ if self.local => Some("--local"),
            None if self.max_concurrent_downloads.is_some() => Some("--max-concurrent-downloads"),
            None if self.sync_fs => Some("--sync-fs"),
            flag => flag,
        }
    }

    async fn transfer(&self, client: &Client, platforms: &[Platform]) -> Outcome {
        let snapshotter = self.snapshotter.name().unwrap_or_default();
        let unpack = |platform: &Platform| Unpack { platform: platform.clone(), snapshotter: snapshotter.to_owned() };
        let store = Store {
            name: self.reference.clone(),
            labels: self.selection.labels(),
            platforms: platforms.to_vec(),
            all_metadata: self.selection.metadata() == Metadata::All,
            unpack: platforms.iter().map(unpack).collect(),
            references: Vec::new(),
        };
        let source = Endpoint::Registry(self.registry.endpoint(&self.reference)?);
        let board = Board::new("downloading", false);
        let pulled = client.transfer(source, Endpoint::Store(store), &board).await;
        board.finish();
        pulled.map_err(|error| error.context(format!("pull {}", self.reference)))?;
        board.summary()
    }

    /// Fetches and unpacks without the Transfer service.
    async fn carry(&self, client: &Client, platforms: &[Platform]) -> Outcome {
        let board = Arc::new(Board::new("downloading", false));
        let work = async |client: Client| {
            let fetching = Fetching {
                registry: &self.registry,
                platforms: Platforms::exactly(platforms.to_vec()),
                metadata: self.selection.metadata(),
                labels: self.selection.labels(),
                parallel: self.max_concurrent_downloads.unwrap_or(0),
            };
            let target = fetching.run(&client, &self.reference, &board).await?;
            let snapshotter = self.snapshotter.name();
            let unpacker = Unpacker::new(&client, snapshotter, self.sync_fs, Arc::clone(&board) as _).await?;
            let unpacked = self.images_to_unpack(&client, &target, platforms).await?;
            for (_, image) in &unpacked {
                unpacker.unpack(image).await?;
            }
            Ok((target, unpacked))
        };
        let pulled = client.under_lease(work).await;
        board.finish();
        let (target, unpacked) = pulled.map_err(|error| error.context(format!("pull {}", self.reference)))?;
        for (platform, _) in unpacked {
            line(format!("unpacking {platform} {}...", target.digest))?;
        }
        line(format!("done: {:?}\t", board.elapsed()))
    }

    /// The images whose layers become snapshots: those of the platforms, or every one.
    async fn images_to_unpack(
        &self,
        client: &Client,
        target: &Descriptor,
        platforms: &[Platform],
    ) -> Result<Vec<(Platform, ImageContent)>> {
        let mut all = platforms.to_vec();
        if all.is_empty() {
            all = client.image_platforms(target).await?;
        }
        let mut images = Vec::new();
        for platform in all {
            let image = client.image_content(target, &Platforms::RunnableOn(platform.clone())).await?;
            images.push((platform, image));
        }
        Ok(images)
    }

    async fn chain_ids(&self, client: &Client, platforms: &[Platform]) -> Outcome {
        let target = client.image_target(&self.reference).await?;
        for (_, image) in self.images_to_unpack(client, &target, platforms).await? {
            let chain_id = image.chain_id()?.map(|chain_id| chain_id.to_string()).unwrap_or_default();
            line(format!("image chain ID: {chain_id}"))?;
        }
        Ok(())
    }
}
