//! `ctr content push-object`: one blob or manifest of the store to a registry.

use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::line;
use crate::registry::{Parents, Push, RegistryFlags, SourceLabel, reference};
use clap::Args;
use client::oci::{Descriptor, Kind};
use distribution::Uploads;
use model::Digest;
use std::sync::Arc;

/// Flags of `ctr content push-object`.
#[derive(Debug, Args)]
#[command(long_about = "Push objects by identifier to a remote: a manifest gets the tag of REMOTE, if it has one.")]
pub(crate) struct PushObject {
    #[command(flatten)]
    registry: RegistryFlags,
    /// The name at the registry
    remote: String,
    /// What to push
    #[arg(value_name = "DIGEST")]
    object: String,
    /// Its media type
    #[arg(value_name = "TYPE")]
    media_type: String,
}

impl PushObject {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let remote = reference(&self.remote)?;
        let digest: Digest = self.object.parse()?;
        let client = context.connect().await?;
        let size = u64::try_from(client.blob_info(&digest).await?.size).unwrap_or(0);
        let object = Descriptor { media_type: self.media_type, digest, size, ..Descriptor::default() };
        let board = Arc::new(Board::new("uploading", false));
        let push = Push {
            folder: client.content_folder().await?,
            client,
            repository: self.registry.repository(&remote)?,
            source: SourceLabel::of(&remote),
            non_distributable: true,
            uploads: Uploads::new(1),
            progress: Arc::clone(&board) as _,
        };
        let pushed = match Kind::of(&object.media_type) {
            Kind::Index | Kind::Manifest => push.document(&object, remote.pushed_as(&object.digest)).await,
            Kind::Config | Kind::Layer | Kind::Other => push.blob(&object, &Parents::new()).await,
        };
        board.finish();
        pushed.map_err(|error| error.context(format!("push {} to {}", object.digest, self.remote)))?;
        line(format!("Pushed {} {}", object.digest, object.media_type))
    }
}
