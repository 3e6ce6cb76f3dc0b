//! `ctr images push`

use crate::commands::progress::Board;
use crate::context::Context;
use crate::failure::Outcome;
use crate::registry::{self, RegistryFlags, SourceLabel, reference};
use clap::Args;
use client::oci::{Descriptor, Platform, media_types};
use client::transfer::{Endpoint, Store};
use client::{Client, Platforms};
use distribution::{Reference, Uploads};
use model::{Digest, Error, Result};
use std::sync::Arc;

/// Blobs sent at a time, unless told otherwise.
const PARALLEL: usize = 3;

/// Flags of `ctr images push`.
#[derive(Debug, Args)]
#[command(long_about = "Pushes an image reference from containerd.\n\n\
    All resources associated with the manifest reference will be pushed. The name is used to find a local image, \
    unless another is given as LOCAL.\n\n\
    The daemon does it; with --local, or with a flag that the daemon's transfer service does not know, ctr does.")]
pub(crate) struct Push {
    #[command(flatten)]
    registry: RegistryFlags,
    /// Digest of manifest
    #[arg(long, value_name = "DIGEST")]
    manifest: Option<String>,
    /// Media type of manifest digest (OCI's, if not given)
    #[arg(long, value_name = "TYPE")]
    manifest_type: Option<String>,
    /// Push content from a specific platform
    #[arg(long, value_name = "OS/ARCH")]
    platform: Vec<String>,
    /// Set the max concurrent uploaded layers for each push
    #[arg(long, value_name = "COUNT")]
    max_concurrent_uploaded_layers: Option<usize>,
    /// Push content from local client rather than using transfer service
    #[arg(long)]
    local: bool,
    /// Allow pushing blobs that are marked as non-distributable
    #[arg(long)]
    allow_non_distributable_blobs: bool,
    /// The name at the registry
    remote: String,
    /// The image's name here, if it is another
    #[arg(value_name = "LOCAL")]
    local_name: Option<String>,
}

impl Push {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let remote = reference(&self.remote)?;
        let client = context.connect().await?;
        match self.needs_local() {
            None => self.transfer(&client).await,
            Some(flag) => {
                context.debug(&format!("ctr pushes by itself, for {flag}"));
                self.carry(&client, &remote).await
            }
        }
    }

    /// The flag for which ctr has to do the work: the Transfer service has no words for it.
    fn needs_local(&self) -> Option<&'static str> {
        match self.registry.only_local() {
            _ if self.local => Some("--local"),
            None if self.manifest.is_some() => Some("--manifest"),
            None if self.manifest_type.is_some() => Some("--manifest-type"),
            None if self.max_concurrent_uploaded_layers.is_some() => Some("--max-concurrent-uploaded-layers"),
            None if self.allow_non_distributable_blobs => Some("--allow-non-distributable-blobs"),
            flag => flag,
        }
    }

    /// How many blobs are sent at a time.
    fn uploaded_at_once(&self) -> usize {
        self.max_concurrent_uploaded_layers.filter(|&count| count > 0).unwrap_or(PARALLEL)
    }

    fn local_name(&self) -> &str {
        self.local_name.as_deref().filter(|name| !name.is_empty()).unwrap_or(&self.remote)
    }

    async fn transfer(&self, client: &Client) -> Outcome {
        let store = Store {
            name: self.local_name().to_owned(),
            platforms: self.platform.iter().map(|text| Platform::parse(text)).collect::<Result<_>>()?,
            ..Store::default()
        };
        let destination = Endpoint::Registry(self.registry.endpoint(&self.remote)?);
        let board = Board::new("uploading", false);
        let pushed = client.transfer(Endpoint::Store(store), destination, &board).await;
        board.finish();
        pushed.map_err(|error| error.context(format!("push {}", self.remote)))?;
        board.summary()
    }

    /// Pushes without the Transfer service.
    async fn carry(&self, client: &Client, remote: &Reference) -> Outcome {
        let target = self.target(client).await?;
        let board = Arc::new(Board::new("uploading", false));
        let push = registry::Push {
            client: client.clone(),
            folder: client.content_folder().await?,
            repository: self.registry.repository(remote)?,
            source: SourceLabel::of(remote),
            non_distributable: self.allow_non_distributable_blobs,
            uploads: Uploads::new(self.uploaded_at_once()),
            progress: Arc::clone(&board) as _,
        };
        board.begin(&target, &format!("Pushing to {}", self.remote));
        let pushed = push.run(&target, remote.pushed_as(&target.digest)).await;
        board.finish();
        pushed.map_err(|error| error.context(format!("push {}", self.remote)))?;
        board.begin(&target, &format!("Completed push to {}", self.remote));
        board.summary()
    }

    /// What is pushed: the manifest given, or what the image's name points to, or its manifest for the platform.
    async fn target(&self, client: &Client) -> Result<Descriptor> {
        if let Some(digest) = &self.manifest {
            let digest: Digest = digest.parse()?;
            let size = client.blob_info(&digest).await?.size;
            let media_type = self.manifest_type.clone().unwrap_or_else(|| media_types::MANIFEST.to_owned());
            let size = u64::try_from(size).unwrap_or(0);
            return Ok(Descriptor { media_type, digest, size, ..Descriptor::default() });
        }
        let target = client.image_target(self.local_name()).await?;
        match &self.platform[..] {
            [] => Ok(target),
            [text] => {
                let platform = Platform::parse(text)?;
                let image = client.image_content(&target, &Platforms::exactly(vec![platform])).await?;
                Ok(image.descriptor)
            }
            _ => Err(Error::invalid_argument("only one --platform can be pushed with --local")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        push: Push,
    }

    #[test]
    fn what_the_service_has_no_words_for_is_done_here() {
        let needs = |words: &[&str]| {
            let flags = Flags::try_parse_from([&["push"], words, &["r.example/a:1"]].concat()).unwrap();
            flags.push.needs_local()
        };
        assert_eq!(needs(&["--plain-http", "--http-dump"]), None);
        for flag in ["--manifest-type=x/y", "--manifest=sha256:0", "--max-concurrent-uploaded-layers=1"] {
            assert_eq!(needs(&[flag]), flag.split('=').next());
        }
    }
}
