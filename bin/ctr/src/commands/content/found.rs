//! An object of a repository, on stdout.

use crate::failure::Outcome;
use crate::output;
use client::Hash;
use distribution::{Blob, Repository};
use model::{Digest, Error, Result};
use std::io::Write as _;

/// Where a repository has its objects.
#[derive(Clone, Copy, Debug)]
pub(super) enum Place {
    /// Manifests and indexes, by tag or digest.
    Manifests,
    /// Blobs, by digest.
    Blobs,
}

/// What was found.
pub(super) enum Found {
    /// A manifest or index: all of it.
    Document(bytes::Bytes),
    /// A blob, yet to be fetched.
    Blob(Blob),
}

/// Looks for `object` in one place, and then in the second: docker-registry fails in its own ways if it is asked for the
/// manifest that a blob is not. `media_type` is what the registry is asked for, if one is preferred.
pub(super) async fn find(
    repository: &Repository,
    object: &str,
    media_type: Option<&str>,
    places: [Place; 2],
) -> Result<Found> {
    let [first, second] = places;
    match find_in(repository, object, media_type, first).await {
        // If it is nowhere, what was asked for is what is missing.
        Err(error) => find_in(repository, object, media_type, second).await.map_err(|_| error),
        found => found,
    }
}

async fn find_in(repository: &Repository, object: &str, media_type: Option<&str>, place: Place) -> Result<Found> {
    match place {
        Place::Manifests => Ok(Found::Document(repository.manifest_as(object, media_type).await?.bytes)),
        Place::Blobs => {
            let digest: Digest = object.parse()?;
            let size = repository.blob_size(&digest, media_type).await?;
            Ok(Found::Blob(Blob { media_type: media_type.map(str::to_owned), ..Blob::whole(digest, size) }))
        }
    }
}

impl Found {
    /// Prints it, and checks a blob meanwhile.
    pub(super) async fn print(self, repository: &Repository) -> Outcome {
        match self {
            Self::Document(bytes) => output::written(std::io::stdout().write_all(&bytes)),
            Self::Blob(blob) => copy(repository, blob).await,
        }
    }
}

/// Copies a blob to stdout.
async fn copy(repository: &Repository, blob: Blob) -> Outcome {
    let digest = blob.digest.clone();
    let mut hash = Hash::new(digest.algorithm());
    let mut body = repository.blob(blob).await?;
    while let Some(bytes) = body.chunk().await? {
        hash.update(&bytes);
        output::written(std::io::stdout().write_all(&bytes))?;
    }
    let found = hash.finish()?;
    if found == digest {
        return Ok(());
    }
    Err(Error::data_loss(format!("blob {digest}: the registry sent bytes whose digest is {found}")).into())
}
