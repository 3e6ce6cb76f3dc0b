//! An image from a registry into the store, carried by ctr itself: what `--local` means.
//!
//! Documents are stored while the image is walked, from its index down; then every blob, several at a time. An ingest
//! that an earlier attempt left is gone on with, over there by a range.

use super::source::SourceLabel;
use client::oci::{Descriptor, Kind, Manifest, reference_key};
use client::{Chunks, Client, Documents, Event, Expect, Item, Platforms, Progress, descend, gc_labels};
use distribution::{Blob, Repository};
use model::{Error, Labels, Result};
use std::cell::RefCell;
use std::io;
use std::sync::Arc;
use tokio::task::JoinSet;

/// Blobs on their way at once, unless told otherwise (containerd's own number).
const PARALLEL: usize = 3;

/// Which documents are wanted beside the layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Metadata {
    /// Those of the images that are wanted.
    Needed,
    /// Those of every platform.
    All,
    /// Those of every platform, and no layers.
    Only,
}

/// What to fetch, from where, into which store.
#[derive(Clone)]
pub(crate) struct Fetch {
    /// The store, under a lease.
    pub(crate) client: Client,
    /// The registry.
    pub(crate) repository: Arc<Repository>,
    /// Noted on every blob.
    pub(crate) source: SourceLabel,
    /// Platforms whose layers are wanted.
    pub(crate) platforms: Platforms,
    /// Documents that are wanted.
    pub(crate) metadata: Metadata,
    /// Blobs on their way at once; 0 for the default.
    pub(crate) parallel: usize,
    /// Told of every step.
    pub(crate) progress: Arc<dyn Progress>,
}

/// A blob that is wanted, and the labels by which it keeps its children.
type Wanted = (Descriptor, Labels);

impl Fetch {
    /// Fetches `object`, a tag or digest, and all below it that is wanted.
    pub(crate) async fn run(&self, object: &str) -> Result<Descriptor> {
        let resolved = self.repository.resolve(object).await?;
        let target = Descriptor {
            media_type: resolved.media_type,
            digest: resolved.digest,
            size: resolved.size,
            ..Descriptor::default()
        };
        if !matches!(Kind::of(&target.media_type), Kind::Index | Kind::Manifest) {
            return Err(Error::invalid_argument(format!(
                "{object} is neither an image nor an index of images: it has media type {:?}",
                target.media_type
            )));
        }
        let wanted = self.walk(&target).await?;
        self.store_all(wanted).await?;
        self.converted(target).await
    }

    /// What the image's record points to. As containerd does (distribution#1622): a manifest that calls its
    /// configuration `application/octet-stream` is stored once more with docker's type for it, else it does not run.
    async fn converted(&self, target: Descriptor) -> Result<Descriptor> {
        if Kind::of(&target.media_type) != Kind::Manifest {
            return Ok(target);
        }
        let bytes = self.document(&target).await?;
        let Some(new) = Manifest::with_config_type(&format!("content {}", target.digest), &bytes)? else {
            return Ok(target);
        };
        let (size, labels) = (new.bytes.len() as u64, new.gc_labels());
        let expect = Expect { digest: Some(new.digest.clone()), size: Some(size), labels };
        let target = Descriptor { digest: new.digest, size, ..target };
        self.client.write_blob(&reference_key(&target), &expect, Chunks::of("manifest", new.bytes.into())).await?;
        Ok(target)
    }

    /// Everything that is wanted, each thing once. Its documents are stored by then.
    async fn walk(&self, target: &Descriptor) -> Result<Vec<Wanted>> {
        let mut wanted: Vec<Wanted> = Vec::new();
        let layers = self.metadata != Metadata::Only;
        self.descend(target, |child| self.platforms.include(child) && (layers || !is_layer(child)), &mut wanted)
            .await?;
        if self.metadata != Metadata::Needed {
            self.descend(target, |child| !is_layer(child), &mut wanted).await?;
        }
        Ok(wanted)
    }

    async fn descend(
        &self,
        target: &Descriptor,
        counts: impl Fn(&Descriptor) -> bool,
        wanted: &mut Vec<Wanted>,
    ) -> Result<()> {
        // A document keeps all that it lists, whatever of it is fetched: the rest may come later.
        let listed = RefCell::new(Labels::new());
        let select = |mut children: Vec<Descriptor>| {
            *listed.borrow_mut() = gc_labels(&children, false);
            children.retain(|child| counts(child));
            children
        };
        let visit = |descriptor: &Descriptor, _: &[Descriptor]| {
            if !wanted.iter().any(|(known, _)| known.digest == descriptor.digest) {
                wanted.push((descriptor.clone(), listed.take()));
            }
            Ok(())
        };
        descend(self, target, select, visit).await
    }

    async fn store_all(&self, wanted: Vec<Wanted>) -> Result<()> {
        let parallel = if self.parallel == 0 { PARALLEL } else { self.parallel };
        let (mut tasks, mut wanted) = (JoinSet::new(), wanted.into_iter());
        loop {
            while tasks.len() < parallel
                && let Some(next) = wanted.next()
            {
                let fetch = self.clone();
                tasks.spawn(async move { fetch.store(next).await });
            }
            match tasks.join_next().await {
                Some(Ok(stored)) => stored?,
                Some(Err(panic)) => return Err(Error::internal("fetch a blob").caused_by(panic)),
                None => return Ok(()),
            }
        }
    }

    async fn store(&self, (descriptor, mut labels): Wanted) -> Result<()> {
        let digest = &descriptor.digest;
        let found = match self.client.blob_info(digest).await {
            Ok(info) => Some(info),
            Err(error) if error.is_not_found() => None,
            Err(error) => return Err(error),
        };
        let known = found.as_ref().and_then(|info| info.labels.get(&self.source.key()).map(String::as_str));
        self.source.add_to(known, &mut labels);
        if found.is_some() {
            if matches!(Kind::of(&descriptor.media_type), Kind::Index | Kind::Manifest) {
                // Stored while the image was walked.
                return self.client.label_blob(digest, labels).await.map(drop);
            }
            let (name, total) = (digest.as_str(), descriptor.size);
            let descriptor = Some(&descriptor);
            self.progress.on(Event::Item(Item { name, phase: "already exists", done: total, total, descriptor }));
            return self.client.label_blob(digest, labels).await.map(drop);
        }
        self.progress.on(Event::Blob(digest, descriptor.size));
        let expect = Expect { digest: Some(digest.clone()), size: Some(descriptor.size), labels };
        let open = |offset| (self.bytes(&descriptor, offset), 0);
        self.client.write_blob_from(&reference_key(&descriptor), &expect, open).await?;
        self.progress.on(Event::Stored(digest));
        Ok(())
    }

    /// The blob's bytes from `offset` on, as they come.
    fn bytes(&self, descriptor: &Descriptor, offset: u64) -> Chunks {
        let (sender, chunks) = Chunks::channel(format!("blob {}", descriptor.digest));
        let repository = Arc::clone(&self.repository);
        let whole = Blob::whole(descriptor.digest.clone(), descriptor.size);
        let blob = Blob { offset, urls: descriptor.urls.clone(), ..whole };
        tokio::spawn(async move {
            let pump = async {
                let mut body = repository.blob(blob).await?;
                while let Some(bytes) = body.chunk().await? {
                    if sender.send(Ok(bytes)).await.is_err() {
                        break; // the store wants no more: its answer says why
                    }
                }
                Ok::<_, Error>(())
            };
            if let Err(error) = pump.await {
                let _ = sender.send(Err(io::Error::other(error))).await;
            }
        });
        chunks.watched(Arc::clone(&self.progress), descriptor.digest.clone())
    }
}

impl Documents for Fetch {
    /// From the store if it is there, else from the registry into it.
    async fn document(&self, descriptor: &Descriptor) -> Result<bytes::Bytes> {
        match self.client.read_small(descriptor).await {
            Ok(bytes) => return Ok(bytes.into()),
            Err(error) if error.is_not_found() => {}
            Err(error) => return Err(error),
        }
        let document = self.repository.manifest(descriptor.digest.as_str()).await?;
        if document.resolved.size != descriptor.size {
            return Err(Error::data_loss(format!(
                "manifest {} has {} bytes, expected {}",
                descriptor.digest, document.resolved.size, descriptor.size
            )));
        }
        let expect =
            Expect { digest: Some(descriptor.digest.clone()), size: Some(descriptor.size), labels: Labels::new() };
        let source = Chunks::of("manifest", document.bytes.clone());
        self.client.write_blob(&reference_key(descriptor), &expect, source).await?;
        Ok(document.bytes)
    }
}

fn is_layer(descriptor: &Descriptor) -> bool {
    Kind::of(&descriptor.media_type) == Kind::Layer
}
