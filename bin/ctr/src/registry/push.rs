//! An image from the store to a registry, carried by ctr itself: what `--local` means.
//!
//! Blobs go first, several at a time, and what the registry has already is passed over; then manifests, each after
//! what it lists; the one with the tag last.

use super::source::SourceLabel;
use client::oci::{Descriptor, Kind, is_non_distributable};
use client::{Blob, Chunks, Client, Event, Folder, Item, MAX_INDEX_DEPTH, Progress, descend};
use distribution::{Repository, Uploads};
use model::{Digest, Error, Result};
use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use tokio::task::{JoinError, JoinSet};

/// By digest, the document that lists a blob or document.
pub(crate) type Parents = HashMap<Digest, Digest>;

/// What to push from, and where to.
#[derive(Clone)]
pub(crate) struct Push {
    /// The store.
    pub(crate) client: Client,
    /// Where the store has its blobs.
    pub(crate) folder: Folder,
    /// The registry.
    pub(crate) repository: Arc<Repository>,
    /// Where else in the registry a blob may be.
    pub(crate) source: SourceLabel,
    /// Whether layers that only their maker may hand out are pushed as well.
    pub(crate) non_distributable: bool,
    /// Blobs on their way at once.
    pub(crate) uploads: Uploads,
    /// Told of every step.
    pub(crate) progress: Arc<dyn Progress>,
}

impl Push {
    /// Pushes `target` and all below it, and names it `object` there, a tag or its digest.
    pub(crate) async fn run(&self, target: &Descriptor, object: &str) -> Result<()> {
        let (mut documents, mut blobs, mut parents) = (Vec::new(), Vec::new(), Parents::new());
        let select = |mut children: Vec<Descriptor>| {
            children.retain(|child| self.non_distributable || !is_non_distributable(&child.media_type));
            children
        };
        let visit = |descriptor: &Descriptor, children: &[Descriptor]| {
            for child in children {
                parents.entry(child.digest.clone()).or_insert_with(|| descriptor.digest.clone());
            }
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
        self.push_all(blobs, &Arc::new(parents)).await?;
        // Walked from the top: the last is listed by those before it.
        for document in documents.iter().rev() {
            let is_target = document.digest == target.digest;
            self.document(document, if is_target { object } else { document.digest.as_str() }).await?;
        }
        Ok(())
    }

    async fn push_all(&self, mut blobs: Vec<Descriptor>, parents: &Arc<Parents>) -> Result<()> {
        let mut tasks = JoinSet::new();
        let joined = |joined: Result<Result<()>, JoinError>| {
            joined.unwrap_or_else(|panic| Err(Error::internal("push a blob").caused_by(panic)))
        };
        Uploads::order(&mut blobs, |blob| blob.size);
        for blob in blobs {
            let (push, parents, place) = (self.clone(), Arc::clone(parents), self.uploads.place().await?);
            tasks.spawn(async move {
                let _place = place;
                push.blob(&blob, &parents).await
            });
            while let Some(done) = tasks.try_join_next() {
                joined(done)?;
            }
        }
        while let Some(done) = tasks.join_next().await {
            joined(done)?;
        }
        Ok(())
    }

    /// Pushes a blob, unless the registry has it or can mount it.
    pub(crate) async fn blob(&self, blob: &Descriptor, parents: &Parents) -> Result<()> {
        let digest = &blob.digest;
        let elsewhere = self.mounted_from(digest, parents).await?;
        self.progress.on(Event::Blob(digest, blob.size));
        let open = |offset| self.bytes(blob, offset);
        match self.repository.push_blob(digest, blob.size, elsewhere.as_deref(), &self.uploads, open).await? {
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

    /// The repository that a blob is known to be in too, or the image that it belongs to.
    async fn mounted_from(&self, blob: &Digest, parents: &Parents) -> Result<Option<String>> {
        let mut next = Some(blob);
        // As far up as indexes are nested, and the manifest and the blob below them.
        for _ in 0..=MAX_INDEX_DEPTH + 2 {
            let Some(digest) = next else { break };
            let labels = match self.client.blob_info(digest).await {
                Ok(info) => info.labels,
                // The registry may have it nevertheless.
                Err(error) if error.is_not_found() => Default::default(),
                Err(error) => return Err(error),
            };
            if let Some(other) = self.source.other(&labels) {
                return Ok(Some(other.to_owned()));
            }
            next = parents.get(digest);
        }
        Ok(None)
    }

    /// Pushes a manifest or index.
    pub(crate) async fn document(&self, document: &Descriptor, object: &str) -> Result<()> {
        let bytes = self.client.read_small(document).await?;
        self.repository.put_manifest(object, &document.media_type, bytes.into()).await.map(drop)
    }

    /// A blob's bytes from `offset` on, from the store's file if we can see it, else from the daemon.
    async fn bytes(&self, blob: &Descriptor, offset: u64) -> Result<Chunks> {
        let Descriptor { digest, size, .. } = blob;
        let chunks = match self.folder.open(digest, *size) {
            Some(file) => Chunks::of_file(digest.as_str(), Arc::new(file), offset, size.saturating_sub(offset)),
            None => carried(self.client.read_blob_from(digest, offset).await?),
        };
        Ok(chunks.watched(Arc::clone(&self.progress), digest.clone()))
    }
}

/// What comes from the daemon.
fn carried(mut stored: Blob) -> Chunks {
    let (sender, chunks) = Chunks::channel("a blob of the daemon");
    tokio::spawn(async move {
        while let Some(chunk) = stored.next().await.map_err(io::Error::other).transpose() {
            let failed = chunk.is_err();
            if sender.send(chunk).await.is_err() || failed {
                break; // the registry wants no more: its answer says why
            }
        }
    });
    chunks
}
