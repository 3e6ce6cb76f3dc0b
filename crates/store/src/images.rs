//! Images: names for content.

use crate::Store;
use model::{Digest, Error, FieldMask, Filter, Image, Result, Scope, Timestamp};

impl Store {
    /// The image `name`.
    pub fn get_image(&self, scope: &Scope, name: &str) -> Result<Image> {
        let _ = (scope, name);
        Err(Error::unimplemented("pending"))
    }

    /// The images that match, by name.
    pub fn list_images(&self, scope: &Scope, filter: &Filter) -> Result<Vec<Image>> {
        let _ = (scope, filter);
        Err(Error::unimplemented("pending"))
    }

    /// Creates an image. Its times are now, or `at` (`source_date_epoch`).
    pub fn create_image(&self, scope: &Scope, image: Image, at: Option<Timestamp>) -> Result<Image> {
        let _ = (scope, image, at);
        Err(Error::unimplemented("pending"))
    }

    /// Updates labels, target or annotations as `mask` says; an empty mask replaces the image.
    pub fn update_image(&self, scope: &Scope, image: Image, mask: &FieldMask, at: Option<Timestamp>) -> Result<Image> {
        let _ = (scope, image, mask, at);
        Err(Error::unimplemented("pending"))
    }

    /// Deletes an image; with `target` only if it still points there (else `NotFound`).
    pub fn delete_image(&self, scope: &Scope, name: &str, target: Option<&Digest>) -> Result<()> {
        let _ = (scope, name, target);
        Err(Error::unimplemented("pending"))
    }
}
