//! `ctr content delete`

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{complain, line};
use clap::Args;
use client::{Client, Reply as _};
use model::{Digest, Result};
use proto::api::containerd::services::content::v1::DeleteContentRequest;

/// Flags of `ctr content delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// The blobs
    digests: Vec<String>,
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let mut failed = false;
        for digest in &self.digests {
            match delete(&client, digest).await {
                Ok(()) => line(digest)?,
                Err(error) if error.is_not_found() => {}
                Err(error) => {
                    complain(&format!("could not delete {digest}: {error}"));
                    failed = true;
                }
            }
        }
        Failure::when(failed)
    }
}

async fn delete(client: &Client, digest: &str) -> Result<()> {
    let digest = digest.parse::<Digest>()?.to_string();
    client.content().delete(DeleteContentRequest { digest }).await.reply()
}
