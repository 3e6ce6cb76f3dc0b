//! `ctr content prune references`: lets layers be collected that have been unpacked.

use super::list::list;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::line;
use clap::{Args, Subcommand};
use client::Reply as _;
use model::{Digest, Labels};
use proto::api::containerd::services::leases::v1::DeleteRequest;
use std::time::Duration;

/// How long the lease lives by whose deletion the collection is started.
const EXPIRATION: Duration = Duration::from_secs(60 * 60);

/// What can be pruned.
#[derive(Debug, Subcommand)]
pub(crate) enum Prune {
    /// Prunes preference labels from the content store (layers only by default)
    References(References),
}

/// Flags of `ctr content prune references`.
#[derive(Debug, Args)]
pub(crate) struct References {
    /// Allow garbage collection to cleanup asynchronously
    #[arg(long = "async")]
    asynchronous: bool,
    /// Just show updates without applying
    #[arg(long)]
    dry: bool,
}

impl Prune {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let Self::References(references) = self;
        references.run(context).await
    }
}

impl References {
    async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        for blob in list(&client, Vec::new()).await? {
            let cleared: Labels =
                blob.labels.into_keys().filter(|key| is_layer_label(key)).map(|key| (key, String::new())).collect();
            if cleared.is_empty() {
                continue;
            }
            if self.dry {
                let mut keys: Vec<&String> = cleared.keys().collect();
                keys.sort();
                keys.into_iter().try_for_each(|key| line(format!("would remove label {key} of {}", blob.digest)))?;
                continue;
            }
            client.label_blob(&blob.digest.parse::<Digest>()?, cleared).await?;
        }
        if self.dry {
            return Ok(());
        }
        // Deleting a lease is the way to ask for a collection.
        let id = client.create_lease(None, Some(EXPIRATION)).await?;
        client.leases().delete(DeleteRequest { id, sync: !self.asynchronous }).await.reply()?;
        Ok(())
    }
}

/// Whether a label refers to a layer; old ones are numbered, the config being number 0.
fn is_layer_label(key: &str) -> bool {
    let Some(rest) = key.strip_prefix("containerd.io/gc.ref.content.") else { return false };
    let number = !rest.is_empty() && rest.bytes().all(|byte| byte.is_ascii_digit());
    rest.starts_with("l.") || (number && rest != "0")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_layers_are_pruned() {
        assert!(is_layer_label("containerd.io/gc.ref.content.l.0") && is_layer_label("containerd.io/gc.ref.content.3"));
        for kept in ["config", "m.0", "0", ""] {
            assert!(!is_layer_label(&format!("containerd.io/gc.ref.content.{kept}")), "{kept}");
        }
        assert!(!is_layer_label("containerd.io/uncompressed"));
    }
}
