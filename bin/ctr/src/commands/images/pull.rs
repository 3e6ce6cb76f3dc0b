//! `ctr images pull`

use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::{SnapshotterFlag, labels};
use crate::output::line;
use crate::registry::{RegistryFlags, Remote};
use clap::Args;
use client::oci::Platform;
use client::transfer::{Endpoint, Store, Unpack};
use client::{Client, Platforms};
use model::{Error, Result};

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
    /// Labels to attach to the image
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Pull content from a specific platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<String>,
    /// Pull content and metadata from all platforms
    #[arg(long)]
    all_platforms: bool,
    /// (Deprecated: use skip-metadata) Pull metadata for all platforms
    #[arg(long, hide = true)]
    all_metadata: bool,
    /// Skips metadata for unused platforms (Image may be unable to be pushed without metadata)
    #[arg(long)]
    skip_metadata: bool,
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
        Remote::parse_object(&self.reference)?;
        let client = context.connect().await?;
        let platforms = self.platforms()?;
        self.transfer(&client, &platforms).await?;
        if self.print_chainid { self.chain_ids(&client, &platforms).await } else { Ok(()) }
    }

    /// The platforms wanted; none for all of them.
    fn platforms(&self) -> Result<Vec<Platform>> {
        match (&self.platform[..], self.all_platforms) {
            ([], false) => Ok(vec![Platform::host()]),
            ([], true) => Ok(Vec::new()),
            (_, true) => Err(Error::invalid_argument("cannot specify both --platform and --all-platforms")),
            (texts, false) => texts.iter().map(|text| Platform::parse(text)).collect(),
        }
    }

    async fn transfer(&self, client: &Client, platforms: &[Platform]) -> Outcome {
        let snapshotter = self.snapshotter.name().unwrap_or_default();
        let unpack = |platform: &Platform| Unpack { platform: platform.clone(), snapshotter: snapshotter.to_owned() };
        let store = Store {
            name: self.reference.clone(),
            labels: labels(&self.label),
            platforms: platforms.to_vec(),
            all_metadata: !self.skip_metadata,
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

    async fn chain_ids(&self, client: &Client, platforms: &[Platform]) -> Outcome {
        let target = client.image_target(&self.reference).await?;
        for platform in platforms {
            let image = client.image_content(&target, &Platforms::RunnableOn(platform.clone())).await?;
            let chain_id = image.chain_id()?.map(|chain_id| chain_id.to_string()).unwrap_or_default();
            line(format!("image chain ID: {chain_id}"))?;
        }
        Ok(())
    }
}
