//! `ctr content fetch-object`: what a name points to, on stdout.

use crate::context::Context;
use crate::failure::Outcome;
use crate::output;
use crate::registry::{RegistryFlags, Remote};
use clap::Args;
use std::io::Write as _;

/// Flags of `ctr content fetch-object`.
#[derive(Debug, Args)]
#[command(
    long_about = "Fetch objects by identifier from a remote: a manifest, by the tag or digest in its name, or by \
    OBJECT instead. The bytes go to stdout. For layers and other blobs there is fetch-blob."
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
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let (remote, object) = match &self.object {
            Some(object) => (Remote::parse(&self.remote)?, object.clone()),
            None => Remote::parse_object(&self.remote)?,
        };
        let document = self.registry.repository(&remote)?.manifest(&object).await?;
        context.debug(&format!("{} {}", document.resolved.media_type, document.resolved.digest));
        output::written(std::io::stdout().write_all(&document.bytes))
    }
}
