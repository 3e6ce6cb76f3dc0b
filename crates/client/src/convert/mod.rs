//! An image made into another of the same files: layers compressed otherwise, Docker's media types made OCI's,
//! platforms left out.
//!
//! Layers are converted first, several at a time, each in one pass from the store to the store; what they hold is
//! checked against the configuration's diff id meanwhile. Then the documents that name them are written anew, from the
//! configuration up. What nothing changes in keeps its digest.

mod document;
mod layer;

use crate::image::descend;
use crate::oci::{Descriptor, Image, Kind, Manifest};
use crate::progress::Progress;
use crate::{Client, Platforms};
pub use layer::Compression;
pub(crate) use layer::convert as convert_layer;
use model::{Digest, Error, Result};
use proto::api::containerd::services::images::v1::Image as Record;
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// What to change.
#[derive(Clone)]
pub struct ConvertOptions {
    /// Images kept, of an index.
    pub platforms: Platforms,
    /// How layers are to be compressed; as they are if nothing is said.
    pub layers: Option<Compression>,
    /// Whether Docker's media types become OCI's.
    pub oci: bool,
    /// Told of every step.
    pub progress: Arc<dyn Progress>,
}

impl std::fmt::Debug for ConvertOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ConvertOptions").field("layers", &self.layers).field("oci", &self.oci).finish_non_exhaustive()
    }
}

impl Client {
    /// Converts image `source` and names the result `target`, whether that exists or not.
    ///
    /// # Errors
    /// `NotFound` if the image lacks content, or has none for the platforms; `InvalidArgument` for a layer that cannot
    /// be converted; `FailedPrecondition` if one does not hold what the configuration says.
    pub async fn convert(&self, source: &str, target: &str, options: &ConvertOptions) -> Result<Descriptor> {
        self.under_lease(async |client: Self| client.convert_leased(source, target, options).await).await
    }

    async fn convert_leased(&self, source: &str, target: &str, options: &ConvertOptions) -> Result<Descriptor> {
        let record = self.image(source).await?;
        let from = crate::target_of(&record)?;
        let converted = match options.layers {
            Some(compression) => self.convert_layers(&from, compression, options).await?,
            None => HashMap::new(),
        };
        let to = document::Rewrite { client: self, options, layers: &converted }.run(&from).await?;
        let image = Record { name: target.to_owned(), target: Some(crate::descriptor_to_wire(&to)), ..record };
        if source == target {
            self.update_image(image, None).await?;
            return Ok(to);
        }
        // Created anew, as containerd's own converter does, with the labels of the source.
        match self.delete_image(target).await {
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        self.create_image(image).await?;
        Ok(to)
    }

    /// Converts every layer below `target` that needs it. Returns what became of each.
    async fn convert_layers(
        &self,
        target: &Descriptor,
        compression: Compression,
        options: &ConvertOptions,
    ) -> Result<HashMap<Digest, Descriptor>> {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        let permits = Arc::new(Semaphore::new(cores));
        let mut tasks = JoinSet::new();
        for (layer, diff_id) in self.layers_below(target, options).await?.into_values() {
            let Some(media_type) = layer::media_type(&layer.media_type, compression, options.oci)? else { continue };
            let (client, permits, progress) = (self.clone(), Arc::clone(&permits), Arc::clone(&options.progress));
            tasks.spawn(async move {
                let _permit = permits.acquire().await.map_err(|_| Error::cancelled("converting was stopped"))?;
                let converted = layer::convert(&client, &layer, &diff_id, compression, &progress).await?;
                let digest = layer.digest.clone();
                Ok::<_, Error>((digest, Descriptor { media_type, ..converted }))
            });
        }
        let mut converted = HashMap::new();
        while let Some(task) = tasks.join_next().await {
            let task = task.map_err(|panic| Error::internal("convert a layer").caused_by(panic))?;
            converted.extend([task?]);
        }
        Ok(converted)
    }

    /// Every layer of the images that are kept, once, with the digest of what it holds.
    async fn layers_below(
        &self,
        target: &Descriptor,
        options: &ConvertOptions,
    ) -> Result<HashMap<Digest, (Descriptor, Digest)>> {
        let mut manifests = Vec::new();
        let select = |mut children: Vec<Descriptor>| {
            children.retain(|child| options.platforms.include(child));
            children
        };
        let visit = |descriptor: &Descriptor, _: &[Descriptor]| {
            if Kind::of(&descriptor.media_type) == Kind::Manifest {
                manifests.push(descriptor.clone());
            }
            Ok(())
        };
        descend(self, target, select, visit).await?;
        if manifests.is_empty() {
            return Err(Error::not_found(format!("{} has no image for the platforms asked for", target.digest)));
        }
        let mut layers = HashMap::new();
        for descriptor in manifests {
            let manifest: Manifest = self.read_document(&descriptor).await?;
            if Kind::of(&manifest.config.media_type) != Kind::Config {
                continue; // an artifact or an attestation: its layers are no part of a root filesystem
            }
            let image: Image = self.read_document(&manifest.config).await?;
            let content = crate::ImageContent { descriptor, manifest, image };
            layers.extend(content.layers()?.into_iter().map(|(layer, id)| (layer.digest.clone(), (layer, id))));
        }
        Ok(layers)
    }
}
