//! `ctr content fetch-object`: what a name points to, on stdout.

use super::found::{Place, find};
use crate::context::Context;
use crate::failure::Outcome;
use crate::registry::{RegistryFlags, object_reference, reference};
use clap::Args;

/// Flags of `ctr content fetch-object`.
#[derive(Debug, Args)]
#[command(
    long_about = "Fetch objects by identifier from a remote: a manifest, by the tag or digest in its name, or by \
    OBJECT instead; a digest that is no manifest's may be a blob's. The bytes go to stdout."
)]
pub(crate) struct FetchObject {
    #[command(flatten)]
    registry: RegistryFlags,
    /// The image's full name
    remote: String,
    /// Another tag or digest of the same repository
    object: Option<String>,
    /// Hints, of which none is needed
    #[arg(hide = true)]
    hints: Vec<String>,
}

impl FetchObject {
    pub(crate) async fn run(self, _: &Context) -> Outcome {
        let (remote, object) = match &self.object {
            Some(object) => (reference(&self.remote)?, object.clone()),
            None => object_reference(&self.remote)?,
        };
        let repository = self.registry.repository(&remote)?;
        find(&repository, &object, None, [Place::Manifests, Place::Blobs]).await?.print(&repository).await
    }
}
