//! Images in the store: what a name stands for on a platform.

mod choose;
mod walk;

pub use choose::{ImageContent, Platforms};
pub use walk::{Listing, MAX_INDEX_DEPTH, check_depth, descend};

use crate::oci::{Descriptor, Kind};
use crate::{Client, Reply, decode_all, descriptor_from_wire};
use bytes::Bytes;
use model::{Error, Result};
use proto::api::containerd::services::images::v1::{GetImageRequest, Image, ListImagesRequest};

/// Where small documents are found by their descriptors: the content store, or an archive being imported.
#[allow(async_fn_in_trait, reason = "used on one thread")]
pub trait Documents {
    /// The whole document, at most [`crate::MAX_DOCUMENT`] bytes.
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes>;
}

impl Client {
    /// The record of image `name`.
    pub async fn image(&self, name: &str) -> Result<Image> {
        let reply = self.images().get(GetImageRequest { name: name.to_owned() }).await.reply()?;
        reply.image.ok_or_else(|| Error::internal(format!("image {name:?}: the daemon's answer has no image")))
    }

    /// The records of images that a filter matches; of all, without one.
    pub async fn list_images(&self, filters: Vec<String>) -> Result<Vec<Image>> {
        let reply = self.images().list(ListImagesRequest { filters }).await.reply();
        reply.and_then(|reply| decode_all(&reply.images)).map_err(|error| error.context("failed to list images"))
    }

    /// What image `name` points to.
    pub async fn image_target(&self, name: &str) -> Result<Descriptor> {
        target_of(&self.image(name).await?)
    }

    /// The total size of what this machine needs of `target`: documents, config and layers.
    pub async fn image_size(&self, target: &Descriptor) -> Result<u64> {
        let platforms = Platforms::host();
        let mut size = 0;
        let mut at_root = Kind::of(&target.media_type) == Kind::Index;
        let select = |children: Vec<Descriptor>| {
            // Of an index only the image for this machine is needed.
            let first = std::mem::take(&mut at_root);
            let mut children = platforms.sort(children);
            if first {
                children.truncate(1);
            }
            children
        };
        let visit = |descriptor: &Descriptor, _: &[Descriptor]| {
            size += descriptor.size;
            Ok(())
        };
        descend(self, target, select, visit).await?;
        Ok(size)
    }
}

/// What an image's record points to.
pub fn target_of(image: &Image) -> Result<Descriptor> {
    let target = image.target.clone().unwrap_or_default();
    descriptor_from_wire(target).map_err(|error| error.context(format!("image {:?} has an invalid target", image.name)))
}
