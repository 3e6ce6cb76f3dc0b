//! `ctr content get`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output;
use clap::Args;
use model::Digest;
use std::io::Write as _;

/// Flags of `ctr content get`.
#[derive(Debug, Args)]
pub(crate) struct Get {
    /// The blob
    digest: String,
}

impl Get {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let digest: Digest = self.digest.parse()?;
        let client = context.connect().await?;
        let mut blob = client.read_blob(&digest).await?;
        let mut stdout = std::io::stdout().lock();
        while let Some(chunk) = blob.next().await? {
            output::written(stdout.write_all(&chunk))?;
        }
        Ok(())
    }
}
