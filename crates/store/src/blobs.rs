//! Blobs as each namespace sees them; their bytes are shared.

use crate::{Store, content::Blob};
use model::{BlobInfo, Digest, Error, FieldMask, Filter, Labels, Result, Scope};

impl Store {
    /// The blob `digest`.
    pub fn blob_info(&self, scope: &Scope, digest: &Digest) -> Result<BlobInfo> {
        let _ = (scope, digest);
        Err(Error::unimplemented("pending"))
    }

    /// Updates the labels, all or those `labels.<key>` that `mask` names.
    pub fn update_blob(&self, scope: &Scope, digest: &Digest, labels: Labels, mask: &FieldMask) -> Result<BlobInfo> {
        let _ = (scope, digest, labels, mask);
        Err(Error::unimplemented("pending"))
    }

    /// The blobs that match, by digest.
    pub fn list_blobs(&self, scope: &Scope, filter: &Filter) -> Result<Vec<BlobInfo>> {
        let _ = (scope, filter);
        Err(Error::unimplemented("pending"))
    }

    /// Deletes the namespace's record; the bytes go with the next garbage collection.
    pub fn delete_blob(&self, scope: &Scope, digest: &Digest) -> Result<()> {
        let _ = (scope, digest);
        Err(Error::unimplemented("pending"))
    }

    /// Opens a blob of the namespace for reading.
    pub fn open_reader(&self, scope: &Scope, digest: &Digest) -> Result<Blob> {
        let _ = (scope, digest);
        Err(Error::unimplemented("pending"))
    }
}
