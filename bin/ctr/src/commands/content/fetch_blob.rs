//! `ctr content fetch-blob`: blobs of a repository, on stdout.

use super::found::{Place, find};
use crate::context::Context;
use crate::failure::Outcome;
use crate::registry::{RegistryFlags, reference};
use clap::Args;
use model::Digest;

/// Flags of `ctr content fetch-blob`.
#[derive(Debug, Args)]
#[command(long_about = "Fetch blobs by digests from a remote. The bytes go to stdout, one blob after the other; the \
    command fails if they are not what their digests say. A digest that is no blob's may be a manifest's.")]
pub(crate) struct FetchBlob {
    #[command(flatten)]
    registry: RegistryFlags,
    /// Specify target mediatype for request header
    #[arg(long, value_name = "TYPE")]
    media_type: Option<String>,
    /// The repository; a tag is of no importance
    remote: String,
    /// What to fetch
    #[arg(required = true, value_name = "DIGEST")]
    digests: Vec<String>,
}

impl FetchBlob {
    pub(crate) async fn run(self, _: &Context) -> Outcome {
        let repository = self.registry.repository(&reference(&self.remote)?)?;
        let media_type = self.media_type.as_deref().filter(|media_type| !media_type.is_empty());
        for text in &self.digests {
            let digest: Digest = text.parse()?;
            let found = find(&repository, digest.as_str(), media_type, [Place::Blobs, Place::Manifests]).await?;
            found.print(&repository).await?;
        }
        Ok(())
    }
}
