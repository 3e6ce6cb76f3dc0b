//! Images: names for content.

use super::{reply::blocking, scope::scoped};
use model::{Error, Filter, Image, Timestamp};
use prost::Message as _;
use proto::{
    api::containerd::{
        services::images::v1::{self as api, images_server},
        types::Descriptor,
    },
    convert::{mask_from_wire, status, timestamp_from_wire},
};
use store::Store;
use tonic::{Request, Response, Status, async_trait};

/// The service over its store.
#[derive(Debug)]
pub(crate) struct Images(pub(crate) Store);

/// An image as a request carries it.
fn image(wire: Option<api::Image>) -> Result<Image, Status> {
    let wire = wire.filter(|image| !image.name.is_empty());
    let wire = wire.ok_or_else(|| status(Error::invalid_argument("Image.Name required")))?;
    wire.try_into().map_err(status)
}

/// Stands for a target that an update leaves alone.
const NO_DIGEST: &str = "sha256:0000000000000000000000000000000000000000000000000000000000000000";

/// Whether this path of a mask names the target, or a part of it.
fn touches_target(path: &str) -> bool {
    path.split('.').next() == Some("target")
}

fn epoch(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    time.map(|time| timestamp_from_wire(Some(time)))
}

#[async_trait]
impl images_server::Images for Images {
    async fn get(&self, request: Request<api::GetImageRequest>) -> Result<Response<api::GetImageResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let image = blocking(move || store.get_image(&scope, &request.name)).await?;
        Ok(Response::new(api::GetImageResponse { image: Some(image.into()) }))
    }

    async fn list(
        &self,
        request: Request<api::ListImagesRequest>,
    ) -> Result<Response<api::ListImagesResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let images = blocking(move || {
            let mut images = Vec::new();
            let filter = Filter::parse(&request.filters)?;
            store.each_image(&scope, &filter, |image| images.push(api::Image::from(image).encode_to_vec()))?;
            Ok(images)
        });
        Ok(Response::new(api::ListImagesResponse { images: images.await? }))
    }

    async fn create(
        &self,
        request: Request<api::CreateImageRequest>,
    ) -> Result<Response<api::CreateImageResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let (image, at) = (image(request.image)?, epoch(request.source_date_epoch));
        let store = self.0.clone();
        let image = blocking(move || store.create_image(&scope, image, at)).await?;
        Ok(Response::new(api::CreateImageResponse { image: Some(image.into()) }))
    }

    async fn update(
        &self,
        request: Request<api::UpdateImageRequest>,
    ) -> Result<Response<api::UpdateImageResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let mask = mask_from_wire(request.update_mask);
        let mut wire = request.image;
        if let Some(image) = wire.as_mut().filter(|_| !mask.is_empty() && !mask.paths().any(touches_target)) {
            // It says nothing then, and need not be valid; its annotations may be meant.
            let annotations = image.target.take().unwrap_or_default().annotations;
            image.target = Some(Descriptor { digest: NO_DIGEST.into(), annotations, ..Descriptor::default() });
        }
        let (image, at) = (image(wire)?, epoch(request.source_date_epoch));
        let store = self.0.clone();
        let image = blocking(move || store.update_image(&scope, image, &mask, at)).await?;
        Ok(Response::new(api::UpdateImageResponse { image: Some(image.into()) }))
    }

    async fn delete(&self, request: Request<api::DeleteImageRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let target = request.target.map(|target| target.digest.parse()).transpose().map_err(status)?;
        let store = self.0.clone();
        blocking(move || {
            store.delete_image(&scope, &request.name, target.as_ref())?;
            if request.sync { store.collect_garbage().map(drop) } else { Ok(()) }
        })
        .await?;
        Ok(Response::new(()))
    }
}
