//! Registry to store.
//!
//! ```text
//! resolve ─► verifiers ─► index ─► manifests ─► config ─► layers, fetched and unpacked at once ─► image record
//! ```
//! A parent is labelled with its children as soon as it is there, and the lease holds all of it until the record does.

mod image;

use super::{
    ImageStore, ProgressSink, Registry, Tracker, Transfers,
    fetch::{Fetched, SourceLabel, Want},
    import::Keeper,
    unpack,
};
use crate::tasks::blocking;
use client::{
    Listing, MAX_DOCUMENT,
    archive::Place,
    check_depth, gc_labels,
    oci::{Descriptor, Kind, Manifest},
};
use distribution::{Hosts, Limits, Reference, Repository};
use model::{Digest, Error, Result, Scope};
use std::{
    collections::HashSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::task::JoinSet;

/// Most images of an index on their way.
const IMAGES: usize = 4;

/// A pull under way.
#[derive(Debug)]
struct Pull {
    transfers: Transfers,
    scope: Scope,
    repository: Arc<Repository>,
    /// The image's name at the registry.
    name: String,
    source: SourceLabel,
    to: ImageStore,
    tracker: Arc<Tracker>,
    /// Whether a manifest's configuration has the type [`LEGACY_CONFIG`](client::oci::media_types::LEGACY_CONFIG).
    legacy: AtomicBool,
}

impl Transfers {
    /// Pulls the image of `from` and gives it the names of `to`.
    ///
    /// # Errors
    /// The registry's, the verifiers', the store's; each names the object.
    pub(super) async fn pull(
        &self,
        scope: &Scope,
        from: &Registry,
        to: ImageStore,
        progress: &ProgressSink,
    ) -> Result<()> {
        progress.say(format!("Resolving from {}", from.what()));
        let reference: Reference = from.reference.parse()?;
        let repository = Arc::new(self.repository(&reference, from)?);
        let target = resolve(&repository, &reference).await;
        let target = target.map_err(|error| error.context("failed to resolve image"))?;
        self.verify("pull", &from.reference, &target).await?;
        self.config.check_wishes(&to.unpacks)?;
        progress.say(format!("Pulling from {}", from.what()));
        progress.about("fetching image content", &from.reference, &target);
        let pull = Arc::new(Pull {
            transfers: self.clone(),
            scope: scope.clone(),
            source: SourceLabel::of(&repository),
            repository,
            name: from.reference.clone(),
            tracker: Arc::new(Tracker::new(progress, &from.reference, "downloading")),
            to,
            legacy: AtomicBool::new(false),
        });
        pull.content(target.clone()).await?;
        let target = pull.converted(target).await?;
        let (store, scope, names) = (self.store.clone(), scope.clone(), Arc::clone(&pull));
        let record = target.clone();
        let images = blocking(move || names.to.save(&store, &scope, &record)).await?;
        // What it has still to tell comes before the end.
        drop(pull);
        for image in images {
            progress.about("saved", &image.name, &target);
        }
        progress.say(format!("Completed pull from {}", from.what()));
        Ok(())
    }

    /// The repository of `reference`, reached as `registry` says.
    pub(super) fn repository(&self, reference: &Reference, registry: &Registry) -> Result<Repository> {
        let hosts = Hosts {
            dirs: registry.hosts_dir.clone().map_or_else(|| self.config.hosts_dirs.clone(), |dir| vec![dir]),
            default_scheme: registry.default_scheme.clone(),
            headers: registry.headers.clone(),
            ..Hosts::default()
        };
        let (host, name) = (&reference.registry, &reference.repository);
        let repository = Repository::open(host, name, &hosts, &registry.credentials, Limits::default())?;
        let repository = repository.with_rests(&self.rests);
        Ok(match registry.observer() {
            Some(observer) => repository.observed(&observer),
            None => repository,
        })
    }
}

/// What the reference points to.
async fn resolve(repository: &Repository, reference: &Reference) -> Result<Descriptor> {
    let resolved = repository.resolve(reference.object()?).await?;
    let (media_type, digest, size) = (resolved.media_type, resolved.digest, resolved.size);
    Ok(Descriptor { media_type, digest, size, ..Descriptor::default() })
}

impl Pull {
    /// Brings everything below `target`, each thing once, however often it is listed.
    async fn content(self: &Arc<Self>, target: Descriptor) -> Result<()> {
        let mut images = JoinSet::new();
        let mut pending = vec![(target, 0)];
        let mut seen = HashSet::new();
        while let Some((descriptor, depth)) = pending.pop() {
            check_depth(&descriptor, depth)?;
            let kind = Kind::of(&descriptor.media_type);
            // Of an image for another platform there may be less to bring.
            let wanted = descriptor.platform.as_ref().is_none_or(|platform| self.to.wants(platform));
            if !seen.insert((descriptor.digest.clone(), kind, wanted)) {
                continue;
            }
            if kind == Kind::Index {
                let children = self.children(&descriptor).await?;
                pending.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
                continue;
            }
            if images.len() >= IMAGES {
                join_one(&mut images).await?;
            }
            let pull = Arc::clone(self);
            images.spawn(async move { pull.image(&descriptor).await });
        }
        while !images.is_empty() {
            join_one(&mut images).await?;
        }
        Ok(())
    }

    /// Brings index or manifest `parent`, labels it with its children, and says which of them belong to the pull.
    async fn children(self: &Arc<Self>, parent: &Descriptor) -> Result<Vec<Descriptor>> {
        let listed = parent.clone();
        let read = move |pull: &Self, bytes: &[u8]| {
            let all = Listing::parse(&listed, bytes)?.map(|listing| listing.children()).unwrap_or_default();
            let (store, labels) = (&pull.transfers.store, gc_labels(&all, false));
            unpack::label_blocking(store, &pull.scope, &listed.digest, &labels)?;
            let selected = pull.to.select(&listed, all)?;
            pull.tracker.found(&listed, &selected);
            Ok(selected)
        };
        self.document(parent, read).await
    }

    /// What the image's record points to. As containerd does (distribution#1622): a manifest that calls its
    /// configuration `application/octet-stream` is stored once more with docker's type for it, else it does not run.
    async fn converted(self: &Arc<Self>, target: Descriptor) -> Result<Descriptor> {
        if Kind::of(&target.media_type) != Kind::Manifest || !self.legacy.load(Ordering::Relaxed) {
            return Ok(target);
        }
        let pull = Arc::clone(self);
        blocking(move || {
            let bytes = pull.read(&target.digest)?;
            let Some(new) = Manifest::with_config_type(&format!("content {}", target.digest), &bytes)? else {
                return Ok(target);
            };
            let (size, labels) = (new.bytes.len() as u64, new.gc_labels());
            let keeper = Keeper { store: pull.transfers.store.clone(), scope: pull.scope.clone() };
            keeper.document(&new.digest, Some(&Place::Memory(new.bytes.into())), &labels)?;
            Ok(Descriptor { digest: new.digest, size, ..target })
        })
        .await
    }

    fn want(&self, blob: &Descriptor) -> Want {
        let (repository, scope) = (Arc::clone(&self.repository), self.scope.clone());
        Want { repository, scope, blob: blob.clone(), source: self.source.clone() }
    }

    /// Brings a blob.
    async fn blob(&self, blob: &Descriptor) -> Result<()> {
        let tracker = &self.tracker;
        let fetch = |want| async move {
            let fetches = &self.transfers.fetches;
            fetches.fetch(&want, || tracker.add(blob), |bytes| tracker.moved(blob, bytes)).await
        };
        match fetch(self.want(blob)).await? {
            Fetched::Existed => self.tracker.exists(blob),
            Fetched::New => self.tracker.complete(blob),
        }
        Ok(())
    }

    /// Brings a document, and has a thread of the pool `read` it: one of 8 MiB takes a while.
    async fn document<T: Send + 'static>(
        self: &Arc<Self>,
        descriptor: &Descriptor,
        read: impl FnOnce(&Self, &[u8]) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (digest, size) = (descriptor.digest.clone(), descriptor.size);
        if size > MAX_DOCUMENT {
            return Err(Error::invalid_argument(format!(
                "document {digest} has {size} bytes, more than {MAX_DOCUMENT}"
            )));
        }
        self.blob(descriptor).await?;
        let pull = Arc::clone(self);
        blocking(move || read(&pull, &pull.read(&digest)?)).await
    }

    /// The bytes of a document that is there.
    fn read(&self, digest: &Digest) -> Result<Vec<u8>> {
        let blob = self.transfers.store.open_reader(&self.scope, digest)?;
        let mut bytes = vec![0; usize::try_from(blob.size().min(MAX_DOCUMENT)).unwrap_or_default()];
        let read = blob.read_at(&mut bytes, 0).map_err(|error| Error::io(format!("read {digest}"), error))?;
        bytes.truncate(read);
        Ok(bytes)
    }
}

async fn join_one(tasks: &mut JoinSet<Result<()>>) -> Result<()> {
    match tasks.join_next().await {
        Some(Ok(done)) => done,
        Some(Err(error)) => Err(Error::internal("a part of a pull ended early").caused_by(error)),
        None => Ok(()),
    }
}
