//! Store to store: another name for an image.

use super::{ImageStore, ProgressSink, Transfers};
use crate::tasks::blocking;
use client::oci::Descriptor;
use model::{Result, Scope};

impl Transfers {
    /// Gives the target of image `from` the names of `to`.
    ///
    /// # Errors
    /// `NotFound` without the image or a name, else the store's.
    pub(super) async fn tag(
        &self,
        scope: &Scope,
        from: &ImageStore,
        to: ImageStore,
        progress: &ProgressSink,
    ) -> Result<()> {
        let (store, owner, name) = (self.store.clone(), scope.clone(), from.name.clone());
        let saved = blocking(move || {
            let target = store.get_image(&owner, &name)?.target;
            let target = descriptor(target);
            Ok((to.save(&store, &owner, &target)?, target))
        });
        let (saved, target) = saved.await?;
        for image in saved {
            progress.about("saved", &image.name, &target);
        }
        Ok(())
    }
}

/// A record's target as documents describe content.
pub(super) fn descriptor(target: model::Descriptor) -> Descriptor {
    let model::Descriptor { media_type, digest, size, annotations } = target;
    Descriptor { media_type, digest, size, annotations, ..Descriptor::default() }
}
