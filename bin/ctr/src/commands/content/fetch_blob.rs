//! `ctr content fetch-blob`: blobs of a repository, on stdout.

use crate::context::Context;
use crate::failure::Outcome;
use crate::output;
use crate::registry::{RegistryFlags, Remote};
use clap::Args;
use client::Hash;
use client::oci::Kind;
use distribution::{Blob, Repository};
use model::{Digest, Error};
use std::io::Write as _;

/// Flags of `ctr content fetch-blob`.
#[derive(Debug, Args)]
#[command(long_about = "Fetch blobs by digests from a remote. The bytes go to stdout, one blob after the other; the \
    command fails if they are not what their digests say.")]
pub(crate) struct FetchBlob {
    #[command(flatten)]
    registry: RegistryFlags,
    /// Specify target mediatype for request header: that of a manifest has it looked for among the manifests
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
    /// The repository; a tag is of no importance
    remote: String,
    /// What to fetch
    #[arg(required = true, value_name = "DIGEST")]
    digests: Vec<String>,
}

impl FetchBlob {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let repository = self.registry.repository(&Remote::parse(&self.remote)?)?;
        let kind = self.media_type.as_deref().map(Kind::of);
        for text in &self.digests {
            let digest: Digest = text.parse()?;
            if matches!(kind, Some(Kind::Index | Kind::Manifest)) {
                let document = repository.manifest(digest.as_str()).await?;
                output::written(std::io::stdout().write_all(&document.bytes))?;
                continue;
            }
            let size = repository.blob_size(&digest).await?;
            context.debug(&format!("{digest} has {size} bytes"));
            copy(&repository, Blob::whole(digest, size)).await?;
        }
        Ok(())
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
