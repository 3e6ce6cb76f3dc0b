//! Images in: an OCI layout or a Docker archive, as one tar stream, becomes blobs, snapshots and names.
//!
//! A plain file is indexed first, by seeking from header to header, so that only what is wanted is sent, several
//! blobs at once, and layers are unpacked while others are still on their way. Anything else (a pipe, a compressed
//! archive) is read once from front to back: blobs are stored as they come, small documents are kept in memory.

mod archive;
mod naming;
mod plan;
mod stream;
mod upload;

pub use naming::Naming;

use crate::archive::{self as files, Layers, Place};
use crate::content::{Expect, Written};
use crate::convert::{Compression, convert_layer};
use crate::image::Platforms;
use crate::oci::{Descriptor, media_types};
use crate::progress::Progress;
use crate::unpack::Unpacker;
use crate::{Client, image_record};
use bytes::Bytes;
use model::{Labels, Result};
use plan::Plan;
pub use plan::gc_labels;
use proto::api::containerd::services::images::v1::Image;
use std::{fs::File, sync::Arc};

/// What to import and how.
#[derive(Clone)]
pub struct ImportOptions {
    /// How images get their names.
    pub naming: Naming,
    /// Name under which the whole index is kept too.
    pub index_name: Option<String>,
    /// Images for which platforms are taken.
    pub platforms: Platforms,
    /// Labels of every image created.
    pub labels: Labels,
    /// Where layers are unpacked, if at all.
    pub unpacker: Option<Unpacker>,
    /// Whether layers of a Docker archive that are not compressed get so.
    pub compress: bool,
    /// Whether layers may be collected once they are unpacked.
    pub discard_layers: bool,
    /// Told of every step.
    pub progress: Arc<dyn Progress>,
}

impl std::fmt::Debug for ImportOptions {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("ImportOptions").field("naming", &self.naming).finish_non_exhaustive()
    }
}

/// An image that was imported.
#[derive(Clone, Debug)]
pub struct Imported {
    /// Its name.
    pub name: String,
    /// What it points to.
    pub target: Descriptor,
}

impl Client {
    /// Imports every image in `input`, which errors call `what`. Meant to be called under a lease, without which
    /// nothing holds blobs until their image exists.
    pub async fn import(&self, what: &str, input: File, options: &ImportOptions) -> Result<Vec<Imported>> {
        let archive = archive::open(self, what, input, &options.progress).await?;
        let layers = StoredLayers { client: self, compress: options.compress, progress: &options.progress };
        let layout = files::read(&archive, &layers).await?;
        let plan = Plan::new(self, &archive, layout, options).await?;
        // Boxed: it holds the state of several transfers.
        Box::pin(upload::run(self, &archive, &plan, options)).await?;
        let mut imported = Vec::new();
        for (name, target) in plan.names() {
            self.set_image(&name, &target, &options.labels).await?;
            imported.push(Imported { name, target });
        }
        Ok(imported)
    }

    /// Makes `name` point to `target`, whether it exists or not. Of a record that exists, labels are left as they are
    /// if none are given.
    async fn set_image(&self, name: &str, target: &Descriptor, labels: &Labels) -> Result<Image> {
        let image = image_record(name, target, labels);
        let mut paths = vec!["target".to_owned()];
        if !labels.is_empty() {
            paths.push("labels".to_owned());
        }
        match self.update_image(image.clone(), Some(prost_types::FieldMask { paths })).await {
            Err(error) if error.is_not_found() => self.create_image(image).await,
            updated => updated,
        }
    }
}

/// Layers of a Docker archive: their digest is in their path, or becomes known by storing them.
struct StoredLayers<'a> {
    client: &'a Client,
    compress: bool,
    progress: &'a Arc<dyn Progress>,
}

impl Layers for StoredLayers<'_> {
    async fn layer(&self, path: &str, place: &Place) -> Result<(Descriptor, Place)> {
        let media_type = files::docker_layer_type(&place.head()?);
        let compress = self.compress && media_type == media_types::DOCKER_LAYER;
        let digest = match files::digest_of_path(path) {
            Some(digest) if !compress => digest,
            digest => {
                let expect = Expect { digest, size: Some(place.size()), ..Expect::default() };
                archive::store(place, self.client, &stream::reference(path), &expect, self.progress).await?.digest
            }
        };
        let layer =
            Descriptor { media_type: media_type.to_owned(), digest, size: place.size(), ..Descriptor::default() };
        if !compress {
            return Ok((layer, place.clone()));
        }
        let gzip = convert_layer(self.client, &layer, &layer.digest, Compression::Gzip, self.progress).await?;
        let written = Written { digest: gzip.digest.clone(), size: gzip.size, existed: true };
        let gzip = Descriptor { media_type: media_types::DOCKER_LAYER_GZIP.to_owned(), ..gzip };
        Ok((gzip, Place::Stored { written, head: Bytes::new() }))
    }
}
