//! `ctr content fetch`: an image's content into the store, not unpacked.

use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::registry::{self, Metadata, RegistryFlags, Selection, SourceLabel, object_reference};
use clap::Args;
use client::oci::Descriptor;
use client::{Client, Platforms, image_record};
use model::{Labels, Result};
use std::sync::Arc;

/// Flags of `ctr content fetch`.
#[derive(Debug, Args)]
#[command(long_about = "Fetch an image into containerd.\n\n\
    Brings manifests, configurations and layers into the content store without unpacking them, and records the \
    image's name: to fetch beforehand what is run later.")]
pub(crate) struct Fetch {
    #[command(flatten)]
    registry: RegistryFlags,
    #[command(flatten)]
    selection: Selection,
    /// Pull all metadata including manifests and configs
    #[arg(long)]
    metadata_only: bool,
    /// The image's full name
    #[arg(value_name = "REMOTE")]
    reference: String,
    /// Taken for the sake of Go's usage line: the name says what to fetch
    #[arg(value_name = "OBJECT", hide = true)]
    rest: Vec<String>,
}

impl Fetch {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let platforms = Platforms::exactly(self.selection.platforms()?);
        let metadata = if self.metadata_only { Metadata::Only } else { self.selection.metadata() };
        let fetching =
            Fetching { registry: &self.registry, platforms, metadata, labels: self.selection.labels(), parallel: 0 };
        let client = context.connect().await?;
        let board = Arc::new(Board::new("downloading", false));
        let fetched =
            client.under_lease(async |client: Client| fetching.run(&client, &self.reference, &board).await).await;
        board.finish();
        let target = fetched.map_err(|error| error.context(format!("fetch {}", self.reference)))?;
        board.begin(&target, &format!("Completed fetch of {}", self.reference));
        board.summary()
    }
}

/// An image fetched by ctr itself and recorded under its name.
#[derive(Debug)]
pub(crate) struct Fetching<'a> {
    /// How the registry is reached.
    pub(crate) registry: &'a RegistryFlags,
    /// Platforms whose layers are wanted.
    pub(crate) platforms: Platforms,
    /// Documents that are wanted beside.
    pub(crate) metadata: Metadata,
    /// Labels of the image's record.
    pub(crate) labels: Labels,
    /// Blobs on their way at once; 0 for the default.
    pub(crate) parallel: usize,
}

impl Fetching<'_> {
    /// Fetches `reference`, under the lease of `client`.
    pub(crate) async fn run(&self, client: &Client, reference: &str, board: &Arc<Board>) -> Result<Descriptor> {
        let (remote, object) = object_reference(reference)?;
        let fetch = registry::Fetch {
            client: client.clone(),
            repository: self.registry.repository(&remote)?,
            source: SourceLabel::of(&remote),
            platforms: self.platforms.clone(),
            metadata: self.metadata,
            parallel: self.parallel,
            progress: Arc::clone(board) as _,
        };
        let target = fetch.run(&object).await?;
        client.put_image(image_record(reference, &target, &self.labels)).await?;
        Ok(target)
    }
}
