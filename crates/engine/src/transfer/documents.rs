//! The store as a place where images and their documents are found. Every lookup blocks: for threads that may.

use super::tag::descriptor;
use bytes::Bytes;
use client::{Documents, MAX_DOCUMENT, archive::Images, oci::Descriptor};
use model::{Digest, Error, Labels, Result, Scope};
use store::Store;

/// The content that a scope sees.
#[derive(Clone, Debug)]
pub(super) struct StoreDocuments {
    pub(super) store: Store,
    pub(super) scope: Scope,
}

impl Documents for StoreDocuments {
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let digest = &descriptor.digest;
        let blob = self.store.open_reader(&self.scope, digest)?;
        if blob.size() > MAX_DOCUMENT {
            let size = blob.size();
            return Err(Error::invalid_argument(format!(
                "content {digest} has {size} bytes: a manifest, index or config has at most {MAX_DOCUMENT}"
            )));
        }
        let mut bytes = vec![0; usize::try_from(blob.size()).unwrap_or_default()];
        let mut filled = 0;
        while filled < bytes.len() {
            let read = blob.read_at(&mut bytes[filled..], filled as u64);
            match read.map_err(|error| Error::io(format!("read content {digest}"), error))? {
                0 => return Err(Error::data_loss(format!("content {digest} ends at byte {filled}"))),
                read => filled += read,
            }
        }
        Ok(bytes.into())
    }
}

impl Images for StoreDocuments {
    async fn target(&self, name: &str) -> Result<Descriptor> {
        Ok(descriptor(self.store.get_image(&self.scope, name)?.target))
    }

    async fn labels(&self, digest: &Digest) -> Result<Labels> {
        Ok(self.store.blob_info(&self.scope, digest)?.labels)
    }
}
