//! Images in the store: what a name stands for on a platform.

mod choose;
mod walk;

pub use choose::{ImageContent, Platforms};
pub use walk::{Listing, MAX_INDEX_DEPTH, check_depth, descend};

use crate::oci::{Descriptor, Kind};
use crate::{Client, Reply, decode_all, descriptor_from_wire, descriptor_to_wire};
use bytes::Bytes;
use model::{Error, Labels, Result};
use proto::api::containerd::services::images::v1::{
    CreateImageRequest, DeleteImageRequest, GetImageRequest, Image, ListImagesRequest, UpdateImageRequest,
};

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

    /// Creates the record `image`.
    pub async fn create_image(&self, image: Image) -> Result<Image> {
        let request = CreateImageRequest { image: Some(image), source_date_epoch: self.source_date_epoch() };
        Ok(self.images().create(request).await.reply()?.image.unwrap_or_default())
    }

    /// Changes the record of an image: what `mask` names of it; all of it, without one.
    pub async fn update_image(&self, image: Image, mask: Option<prost_types::FieldMask>) -> Result<Image> {
        let source_date_epoch = self.source_date_epoch();
        let request = UpdateImageRequest { image: Some(image), update_mask: mask, source_date_epoch };
        Ok(self.images().update(request).await.reply()?.image.unwrap_or_default())
    }

    /// Deletes the record of image `name`.
    pub async fn delete_image(&self, name: &str) -> Result<()> {
        let request = DeleteImageRequest { name: name.to_owned(), ..DeleteImageRequest::default() };
        self.images().delete(request).await.reply()
    }

    /// Creates the record `image`, or puts it in the place of the one that has its name.
    pub async fn put_image(&self, image: Image) -> Result<Image> {
        match self.create_image(image.clone()).await {
            Err(error) if error.is_already_exists() => {}
            created => return created,
        }
        match self.update_image(image.clone(), None).await {
            Err(error) if error.is_not_found() => self.create_image(image).await, // deleted meanwhile
            updated => updated,
        }
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

/// The record by which `name` points to `target`.
pub fn image_record(name: &str, target: &Descriptor, labels: &Labels) -> Image {
    let (name, target) = (name.to_owned(), Some(descriptor_to_wire(target)));
    Image { name, target, labels: labels.clone(), ..Image::default() }
}

/// What an image's record points to.
pub fn target_of(image: &Image) -> Result<Descriptor> {
    let target = image.target.clone().unwrap_or_default();
    descriptor_from_wire(target).map_err(|error| error.context(format!("image {:?} has an invalid target", image.name)))
}
