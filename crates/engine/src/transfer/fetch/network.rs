//! A blob's bytes from the registry, in order.

use super::{Shared, Want, ranges, turns::Turn};
use bytes::Bytes;
use client::oci::{Descriptor, Kind};
use distribution::{Blob, Body};
use model::{Error, Result};
use tokio::sync::mpsc;

/// The turn that `want` has to wait for, if it is not one of the few kilobytes that everything else waits for.
pub(super) async fn turn(shared: &Shared, want: &Want) -> Result<Option<Turn>> {
    match Kind::of(&want.blob.media_type) {
        Kind::Index | Kind::Manifest | Kind::Config => Ok(None),
        Kind::Layer | Kind::Other => shared.turns.take(want.repository.registry()).await.map(Some),
    }
}

/// Sends the bytes of `want` from `offset` on.
///
/// # Errors
/// `Aborted` if nobody takes them any more, else the registry's.
pub(super) async fn send(shared: &Shared, want: &Want, offset: u64, chunks: &mpsc::Sender<Bytes>) -> Result<()> {
    let blob = &want.blob;
    if matches!(Kind::of(&blob.media_type), Kind::Index | Kind::Manifest) {
        return send_document(want, offset, chunks).await;
    }
    if blob.size - offset >= ranges::LARGE {
        return ranges::send(shared, want, offset, chunks).await;
    }
    match want.repository.blob(Blob { offset, ..whole(blob) }).await {
        Ok(mut body) => pass_all(chunks, &mut body).await,
        // What an index lists under a type that nobody here knows may still be a manifest to its registry.
        Err(error) if error.is_not_found() && Kind::of(&blob.media_type) == Kind::Other => {
            send_document(want, offset, chunks).await.map_err(|_| error)
        }
        Err(error) => Err(error),
    }
}

/// All of `blob`, wherever it is said to be.
pub(super) fn whole(blob: &Descriptor) -> Blob {
    Blob { urls: blob.urls.clone(), ..Blob::whole(blob.digest.clone(), blob.size) }
}

/// Sends what is left of `body`.
pub(super) async fn pass_all(chunks: &mpsc::Sender<Bytes>, body: &mut Body<'_>) -> Result<()> {
    while let Some(chunk) = body.chunk().await? {
        pass(chunks, chunk).await?;
    }
    Ok(())
}

/// Documents come whole, and bounded.
async fn send_document(want: &Want, offset: u64, chunks: &mpsc::Sender<Bytes>) -> Result<()> {
    let blob = &want.blob;
    let document = want.repository.manifest(blob.digest.as_str()).await?;
    let (got, size) = (document.bytes.len() as u64, blob.size);
    if got != size {
        return Err(Error::failed_precondition(format!("manifest {}: has {got} bytes, expected {size}", blob.digest)));
    }
    pass(chunks, document.bytes.slice(usize::try_from(offset).unwrap_or(usize::MAX).min(document.bytes.len())..)).await
}

pub(super) async fn pass(chunks: &mpsc::Sender<Bytes>, chunk: Bytes) -> Result<()> {
    chunks.send(chunk).await.map_err(|_| Error::aborted("the writer of a blob has gone"))
}
