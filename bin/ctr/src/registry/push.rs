//! An image from the store to a registry, carried by ctr itself: what `--local` means.
//!
//! Blobs go first, several at a time, and what the registry has already is passed over; then manifests, each after
//! what it lists; the one with the tag last.

use super::source::SourceLabel;
use bytes::Bytes;
use client::oci::{Descriptor, Kind, is_non_distributable};
use client::{Client, Event, Item, Progress, descend};
use distribution::Repository;
use model::{Digest, Error, Result};
use std::io;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

/// Blobs on their way at once, unless told otherwise.
const PARALLEL: usize = 3;

/// Chunks of a blob that wait for the network.
const AHEAD: usize = 2;

/// What to push from, and where to.
#[derive(Clone)]
pub(crate) struct Push {
    /// The store.
    pub(crate) client: Client,
    /// The registry.
    pub(crate) repository: Arc<Repository>,
    /// Where else in the registry a blob may be.
    pub(crate) source: SourceLabel,
    /// Whether layers that only their maker may hand out are pushed as well.
    pub(crate) non_distributable: bool,
    /// Blobs on their way at once; 0 for the default.
    pub(crate) parallel: usize,
    /// Told of every step.
    pub(crate) progress: Arc<dyn Progress>,
}

impl Push {
    /// Pushes `target` and all below it, and names it `object` there, a tag or its digest.
    pub(crate) async fn run(&self, target: &Descriptor, object: &str) -> Result<()> {
        let (mut documents, mut blobs) = (Vec::new(), Vec::new());
        let select = |mut children: Vec<Descriptor>| {
            children.retain(|child| self.non_distributable || !is_non_distributable(&child.media_type));
            children
        };
        let visit = |descriptor: &Descriptor, _: &[Descriptor]| {
            let list = match Kind::of(&descriptor.media_type) {
                Kind::Index | Kind::Manifest => &mut documents,
                Kind::Config | Kind::Layer | Kind::Other => &mut blobs,
            };
            if !list.iter().any(|known: &Descriptor| known.digest == descriptor.digest) {
                list.push(descriptor.clone());
            }
            Ok(())
        };
        descend(&self.client, target, select, visit).await?;
        self.push_all(blobs).await?;
        // Walked from the top: the last is listed by those before it.
        for document in documents.iter().rev() {
            let is_target = document.digest == target.digest;
            self.document(document, if is_target { object } else { document.digest.as_str() }).await?;
        }
        Ok(())
    }

    async fn push_all(&self, blobs: Vec<Descriptor>) -> Result<()> {
        let parallel = if self.parallel == 0 { PARALLEL } else { self.parallel };
        let (mut tasks, mut blobs) = (JoinSet::new(), blobs.into_iter());
        loop {
            while tasks.len() < parallel
                && let Some(blob) = blobs.next()
            {
                let push = self.clone();
                tasks.spawn(async move { push.blob(&blob).await });
            }
            match tasks.join_next().await {
                Some(Ok(pushed)) => pushed?,
                Some(Err(panic)) => return Err(Error::internal("push a blob").caused_by(panic)),
                None => return Ok(()),
            }
        }
    }

    /// Pushes a blob, unless the registry has it or can mount it.
    pub(crate) async fn blob(&self, blob: &Descriptor) -> Result<()> {
        let digest = &blob.digest;
        let labels = self.client.blob_info(digest).await?.labels;
        let elsewhere = self.source.other(&labels);
        self.progress.on(Event::Blob(digest, blob.size));
        match self.repository.push_blob(digest, blob.size, elsewhere, |offset| self.bytes(digest, offset)).await? {
            true => self.progress.on(Event::Stored(digest)),
            false => {
                let item = Item {
                    name: digest.as_str(),
                    phase: "already exists",
                    done: blob.size,
                    total: blob.size,
                    descriptor: Some(blob),
                };
                self.progress.on(Event::Item(item));
            }
        }
        Ok(())
    }

    /// Pushes a manifest or index.
    pub(crate) async fn document(&self, document: &Descriptor, object: &str) -> Result<()> {
        let bytes = self.client.read_small(document).await?;
        self.repository.put_manifest(object, &document.media_type, bytes.into()).await.map(drop)
    }

    /// A blob's bytes from `offset` on, as the store gives them.
    async fn bytes(&self, digest: &Digest, offset: u64) -> Result<ReceiverStream<io::Result<Bytes>>> {
        let mut stored = self.client.read_blob_from(digest, offset).await?;
        let (sender, receiver) = mpsc::channel::<io::Result<Bytes>>(AHEAD);
        let (progress, digest) = (Arc::clone(&self.progress), digest.clone());
        tokio::spawn(async move {
            loop {
                let chunk = match stored.next().await {
                    Ok(Some(chunk)) => Ok(chunk),
                    Ok(None) => break,
                    Err(error) => Err(io::Error::other(error)),
                };
                if let Ok(chunk) = &chunk {
                    progress.on(Event::Sent(&digest, chunk.len() as u64));
                }
                let failed = chunk.is_err();
                if sender.send(chunk).await.is_err() || failed {
                    break; // the registry wants no more: its answer says why
                }
            }
        });
        Ok(ReceiverStream::new(receiver))
    }
}
