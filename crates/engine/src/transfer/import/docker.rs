//! Layers of a Docker archive, which come without media type and often without compression.

use super::keep::Keeper;
use client::{
    Written,
    archive::{Layers, Place, docker_layer_type},
    oci::{Descriptor, media_types, sha256},
};
use flate2::{Compression, write::GzEncoder};
use model::{Digest, Error, Filter, Labels, Result};
use std::io::{self, Write};
use store::ContentWriter;

/// On a blob: the digest of what it holds uncompressed.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";
/// Bytes compressed at a time.
const CHUNK: usize = 256 << 10;

/// Layers that the store holds by now.
pub(super) struct StoredLayers<'a> {
    pub(super) keeper: &'a Keeper,
    /// Whether layers that are not compressed get so.
    pub(super) compress: bool,
}

impl Layers for StoredLayers<'_> {
    async fn layer(&self, path: &str, place: &Place) -> Result<(Descriptor, Place)> {
        let (digest, size) = match place {
            Place::Stored { written, .. } => (written.digest.clone(), written.size),
            Place::Memory(bytes) => (sha256(bytes), bytes.len() as u64),
            Place::Range { .. } => return Err(Error::internal(format!("layer {path:?} was not stored"))),
        };
        let layer = |media_type: &str, digest, size| Descriptor {
            media_type: media_type.to_owned(),
            digest,
            size,
            ..Descriptor::default()
        };
        let media_type = docker_layer_type(&place.head()?);
        if media_type == media_types::DOCKER_LAYER_GZIP || matches!(place, Place::Memory(_)) {
            return Ok((layer(media_type, digest, size), place.clone()));
        }
        // As containerd does: a compressed blob of the same content is used in its place.
        let compressed = match self.compressed(&digest)? {
            None if self.compress => Some(self.compress(path, &digest)?),
            found => found,
        };
        let Some(written) = compressed else { return Ok((layer(media_type, digest, size), place.clone())) };
        let gzip = layer(media_types::DOCKER_LAYER_GZIP, written.digest.clone(), written.size);
        Ok((gzip, Place::Stored { written, head: Default::default() }))
    }
}

impl StoredLayers<'_> {
    /// A blob that holds `digest` compressed, if there is one.
    fn compressed(&self, digest: &Digest) -> Result<Option<Written>> {
        let Keeper { store, scope } = self.keeper;
        let filter = Filter::parse(&[format!("labels.{UNCOMPRESSED:?}=={digest}")])?;
        for blob in store.list_blobs(scope, &filter)? {
            if blob.digest != *digest && self.is_gzip(&blob.digest)? {
                match self.keeper.hold(&blob.digest) {
                    Err(error) if error.is_not_found() => {} // collected meanwhile
                    held => {
                        return held.map(|()| Some(Written { digest: blob.digest, size: blob.size, existed: true }));
                    }
                }
            }
        }
        Ok(None)
    }

    fn is_gzip(&self, digest: &Digest) -> Result<bool> {
        let Keeper { store, scope } = self.keeper;
        let blob = match store.open_reader(scope, digest) {
            Err(error) if error.is_not_found() => return Ok(false),
            blob => blob?,
        };
        let mut magic = [0; 2];
        let read = blob.read_at(&mut magic, 0).map_err(|error| Error::io(format!("read content {digest}"), error))?;
        Ok(read == magic.len() && magic == [0x1f, 0x8b])
    }

    /// Compresses the blob `digest`.
    fn compress(&self, path: &str, digest: &Digest) -> Result<Written> {
        let failed = |error: io::Error| match error.downcast::<Error>() {
            Ok(ours) => ours,
            Err(error) => Error::io(format!("compress {path:?}"), error),
        };
        let blob = self.keeper.store.open_reader(&self.keeper.scope, digest)?;
        let name = format!("compress-blob-{digest}");
        let writer = self.keeper.open(&name, 0, None)?;
        let writer = writer.ok_or_else(|| Error::internal(format!("ingest {name:?} exists")))?;
        let mut gzip = GzEncoder::new(Ingest(writer), Compression::default());
        let mut chunk = vec![0; CHUNK];
        let mut at = 0;
        while at < blob.size() {
            let read = blob.read_at(&mut chunk, at).map_err(failed)?;
            if read == 0 {
                return Err(Error::data_loss(format!("content {digest} ends at byte {at}")));
            }
            gzip.write_all(&chunk[..read]).map_err(failed)?;
            at += read as u64;
        }
        let Ingest(writer) = gzip.finish().map_err(failed)?;
        let size = writer.status().offset;
        let labels = Labels::from([(UNCOMPRESSED.to_owned(), digest.to_string())]);
        Keeper::commit(writer, &name, size, labels)
    }
}

/// An ingest as something to write to.
struct Ingest(ContentWriter);

impl Write for Ingest {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(io::Error::other)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
