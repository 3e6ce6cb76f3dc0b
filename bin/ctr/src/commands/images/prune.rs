//! `ctr images prune`

use crate::commands::containers;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{note, warn};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::images::v1::DeleteImageRequest;
use std::collections::HashSet;

/// Flags of `ctr images prune`.
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Remove all unused images (if all is not specified no images will be pruned)
    #[arg(long)]
    all: bool,
}

impl Prune {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        if !self.all {
            warn("No images pruned. `image prune` requires --all to be specified.");
            return Ok(());
        }
        let client = context.connect().await?;
        let images = client.list_images(Vec::new()).await?;
        let containers = containers::list::list(&client, Vec::new()).await?;
        let used: HashSet<String> = containers.into_iter().map(|container| container.image).collect();
        let unused: Vec<String> =
            images.into_iter().map(|image| image.name).filter(|name| !used.contains(name)).collect();
        for (index, name) in unused.iter().enumerate() {
            let sync = index + 1 == unused.len();
            let request = DeleteImageRequest { name: name.clone(), sync, target: None };
            match client.images().delete(request).await.reply() {
                Ok(()) => note(&format!("deleted image: {name}")),
                // Somebody else was faster.
                Err(error) if error.is_not_found() => {}
                Err(error) => warn(&format!("failed to delete image {name}: {error}")),
            }
        }
        Ok(())
    }
}
