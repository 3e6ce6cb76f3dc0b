//! Blobs and documents into the store, held by the transfer's lease.

use crate::transfer::unpack::label_blocking;
use client::{Written, archive::Place};
use model::{Digest, Error, Labels, Resource, Result, Scope};
use store::{ContentWriter, Store, WriterOptions};

/// Writes on behalf of one transfer. Blocks on the disk.
#[derive(Clone, Debug)]
pub(in crate::transfer) struct Keeper {
    pub(in crate::transfer) store: Store,
    pub(in crate::transfer) scope: Scope,
}

impl Keeper {
    /// An ingest for a file of `size` bytes; none if it is there already.
    pub(super) fn open(&self, path: &str, size: u64, expected: Option<&Digest>) -> Result<Option<ContentWriter>> {
        // Two imports of equal archives do not wait for each other.
        let reference = format!("tar-{path}-{}", client::unique_part());
        let options = WriterOptions { reference, total: size, expected: expected.cloned(), ..WriterOptions::default() };
        match self.store.open_writer(&self.scope, &options) {
            Ok(writer) => Ok(Some(writer)),
            Err(error) if expected.is_some() && error.is_already_exists() => Ok(None),
            Err(error) => Err(error.context(format!("ingest {path:?}"))),
        }
    }

    /// Makes what was written a blob, whatever its digest, and says which.
    pub(super) fn commit(writer: ContentWriter, path: &str, size: u64, labels: Labels) -> Result<Written> {
        let digest = writer.digest()?;
        let existed = match writer.commit(size, Some(&digest), labels) {
            Err(error) if error.is_already_exists() => true,
            done => done.map(|_| false).map_err(|error| error.context(format!("ingest {path:?}")))?,
        };
        Ok(Written { digest, size, existed })
    }

    /// Sees to it that a document is there, with these labels beside those it has.
    pub(in crate::transfer) fn document(&self, digest: &Digest, place: Option<&Place>, labels: &Labels) -> Result<()> {
        let Some(Place::Memory(bytes)) = place else { return self.label(digest, labels) };
        let size = bytes.len() as u64;
        let Some(mut writer) = self.open(digest.as_str(), size, Some(digest))? else {
            return self.label(digest, labels);
        };
        // Known from another namespace, it need only be committed.
        if writer.status().offset < size {
            writer.write(bytes)?;
        }
        match writer.commit(size, Some(digest), labels.clone()) {
            Err(error) if error.is_already_exists() => self.label(digest, labels),
            done => done.map(drop),
        }
    }

    /// Holds a blob that should be there from before.
    ///
    /// # Errors
    /// `NotFound`.
    pub(super) fn hold(&self, digest: &Digest) -> Result<()> {
        if let Some(lease) = &self.scope.lease {
            let resource = Resource::Content(digest.to_string());
            self.store.add_lease_resource(&self.scope, lease, &resource)?;
        }
        // Asked afterwards: from here on nobody collects it.
        self.store.blob_info(&self.scope, digest).map(drop)
    }

    fn label(&self, digest: &Digest, labels: &Labels) -> Result<()> {
        label_blocking(&self.store, &self.scope, digest, labels)
    }
}

/// The error for a file of the archive that was cut short.
pub(super) fn cut_short(path: &str, written: u64, size: u64) -> Error {
    Error::invalid_argument(format!("{path:?} in the archive is cut short: expected {size} bytes but got {written}"))
}
