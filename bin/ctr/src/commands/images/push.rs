//! `ctr images push`

use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::registry::{RegistryFlags, Remote};
use clap::Args;
use client::Client;
use client::oci::{Platform, media_types};
use client::transfer::{Endpoint, Store};
use model::Result;

/// Flags of `ctr images push`.
#[derive(Debug, Args)]
#[command(long_about = "Pushes an image reference from containerd.\n\n\
    All resources associated with the manifest reference will be pushed. The name is used to find a local image, \
    unless another is given as LOCAL.\n\n\
    The daemon does it; with --local, or with a flag that the daemon's transfer service does not know, ctr does.")]
pub(crate) struct Push {
    #[command(flatten)]
    registry: RegistryFlags,
    /// Digest of manifest
    #[arg(long, value_name = "DIGEST")]
    manifest: Option<String>,
    /// Media type of manifest digest
    #[arg(long, value_name = "TYPE", default_value = media_types::MANIFEST)]
    manifest_type: String,
    /// Push content from a specific platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<String>,
    /// Set the max concurrent uploaded layers for each push
    #[arg(long, value_name = "COUNT")]
    max_concurrent_uploaded_layers: Option<usize>,
    /// Push content from local client rather than using transfer service
    #[arg(long)]
    local: bool,
    /// Allow pushing blobs that are marked as non-distributable
    #[arg(long)]
    allow_non_distributable_blobs: bool,
    /// The name at the registry
    remote: String,
    /// The image's name here, if it is another
    #[arg(value_name = "LOCAL")]
    local_name: Option<String>,
}

impl Push {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        Remote::parse_object(&self.remote)?;
        let client = context.connect().await?;
        self.transfer(&client).await
    }

    fn local_name(&self) -> &str {
        self.local_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.remote)
    }

    async fn transfer(&self, client: &Client) -> Outcome {
        let store = Store {
            name: self.local_name().to_owned(),
            platforms: self.platform.iter().map(|text| Platform::parse(text)).collect::<Result<_>>()?,
            ..Store::default()
        };
        let destination = Endpoint::Registry(self.registry.endpoint(&self.remote)?);
        let board = Board::new("uploading", false);
        let pushed = client.transfer(Endpoint::Store(store), destination, &board).await;
        board.finish();
        pushed.map_err(|error| error.context(format!("push {}", self.remote)))?;
        board.summary()
    }
}
