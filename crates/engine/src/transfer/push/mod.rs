//! Store to registry.
//!
//! Blobs go first, several at a time, then manifests, then indexes from the innermost out: a registry refuses a
//! parent whose children it has not got. What the registry has is not sent; what another of its repositories has is
//! mounted from there.

mod read;

use super::{ImageStore, ProgressSink, Registry, Tracker, Transfers, fetch::SourceLabel, tag::descriptor};
use crate::tasks::blocking;
use bytes::Bytes;
use client::{
    Listing, MAX_DOCUMENT, check_depth,
    oci::{Descriptor, Kind},
};
use distribution::{Reference, Repository, Uploads};
use model::{Digest, Error, Result, Scope};
use std::{collections::HashSet, io, sync::Arc};
use store::Store;
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// A push under way.
#[derive(Debug)]
struct Push {
    store: Store,
    scope: Scope,
    repository: Repository,
    source: SourceLabel,
    tracker: Arc<Tracker>,
    uploads: Uploads,
}

/// An image in the order in which it is pushed.
#[derive(Debug, Default)]
struct Order {
    /// With the repository that each may be mounted from.
    blobs: Vec<(Descriptor, Option<String>)>,
    manifests: Vec<Descriptor>,
    /// Outermost first.
    indexes: Vec<Descriptor>,
}

impl Transfers {
    /// Pushes the image named by `from`, or what of it is for the platforms asked for.
    ///
    /// # Errors
    /// `NotFound` without the image, or for content that the store has not got; else the registry's.
    pub(super) async fn push(
        &self,
        scope: &Scope,
        from: &ImageStore,
        to: &Registry,
        progress: &ProgressSink,
    ) -> Result<()> {
        let (store, owner, name) = (self.store.clone(), scope.clone(), from.name.clone());
        let target = descriptor(blocking(move || store.get_image(&owner, &name)).await?.target);
        progress.say(format!("Pushing to {}", to.what()));
        progress.about("pushing content", &from.name, &target);
        let reference: Reference = to.reference.parse()?;
        let repository = self.repository(&reference, to)?;
        let push = Arc::new(Push {
            store: self.store.clone(),
            scope: scope.clone(),
            source: SourceLabel::of(&repository),
            repository,
            tracker: Arc::new(Tracker::new(progress, &from.name, "uploading")),
            uploads: self.uploads.clone(),
        });
        push.all(from, &target, &reference).await?;
        drop(push);
        progress.about("pushed content", &from.name, &target);
        progress.about(&format!("Completed push to {}", to.what()), "", &target);
        Ok(())
    }
}

impl Push {
    async fn all(self: &Arc<Self>, from: &ImageStore, target: &Descriptor, reference: &Reference) -> Result<()> {
        let mut order = self.order(from, target).await?;
        Uploads::order(&mut order.blobs, |(blob, _)| blob.size);
        self.each(order.blobs, |push, (blob, from)| async move { push.blob(&blob, from).await }).await?;
        let tag = reference.object()?.to_owned();
        let root = target.digest.clone();
        let object = move |digest: &Digest| if *digest == root { tag.clone() } else { digest.to_string() };
        let name = object.clone();
        self.each(order.manifests, move |push, manifest| {
            let object = name(&manifest.digest);
            async move { push.document(&manifest, &object).await }
        })
        .await?;
        for index in order.indexes.into_iter().rev() {
            self.document(&index, &object(&index.digest)).await?;
        }
        Ok(())
    }

    /// Walks the image.
    async fn order(&self, from: &ImageStore, target: &Descriptor) -> Result<Order> {
        let (mut order, mut seen) = (Order::default(), HashSet::new());
        let mut pending = vec![(target.clone(), 0, None)];
        while let Some((parent, depth, source)) = pending.pop() {
            check_depth(&parent, depth)?;
            self.tracker.add(&parent);
            let kind = Kind::of(&parent.media_type);
            if matches!(kind, Kind::Index | Kind::Manifest) {
                let bytes = self.read(&parent).await?;
                let listing = Listing::parse(&parent, &bytes)?;
                let mut children = listing.map(|listing| listing.children()).unwrap_or_default();
                children.retain(|child| child.platform.as_ref().is_none_or(|platform| from.wants(platform)));
                self.tracker.found(&parent, &children);
                let above = self.mounted_from(&parent.digest).await?.or(source.clone());
                pending.extend(children.into_iter().rev().map(|child| (child, depth + 1, above.clone())));
            }
            // An index is listed where it comes last, below whatever lists it.
            if !seen.insert(parent.digest.clone()) && kind != Kind::Index {
                continue;
            }
            match kind {
                Kind::Index => order.indexes.push(parent),
                Kind::Manifest => order.manifests.push(parent),
                Kind::Config | Kind::Layer | Kind::Other => {
                    let source = self.mounted_from(&parent.digest).await?.or(source);
                    order.blobs.push((parent, source));
                }
            }
        }
        Ok(order)
    }

    /// Does `work` for each, as many at a time as there are places.
    async fn each<T, F>(self: &Arc<Self>, all: Vec<T>, work: impl Fn(Arc<Self>, T) -> F) -> Result<()>
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        let mut tasks = JoinSet::new();
        let joined = |joined: Result<Result<()>, tokio::task::JoinError>| {
            joined.unwrap_or_else(|error| Err(Error::internal("a part of a push ended early").caused_by(error)))
        };
        for one in all {
            let place = self.uploads.place().await?;
            let pushed = work(Arc::clone(self), one);
            tasks.spawn(async move {
                let _place = place;
                pushed.await
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

    /// The repository that blob `digest` is known to be in too, or those that it belongs to.
    async fn mounted_from(&self, digest: &Digest) -> Result<Option<String>> {
        let (store, scope, digest) = (self.store.clone(), self.scope.clone(), digest.clone());
        match blocking(move || store.blob_info(&scope, &digest)).await {
            Ok(info) => Ok(self.source.nearest(&info.labels)),
            // The registry may have it nevertheless.
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Pushes a blob, unless the registry has it.
    async fn blob(&self, blob: &Descriptor, from: Option<String>) -> Result<()> {
        let Descriptor { digest, size, .. } = blob;
        let open = |offset| self.bytes(blob, offset);
        match self.repository.push_blob(digest, *size, from.as_deref(), &self.uploads, open).await? {
            true => self.tracker.complete(blob),
            false => self.tracker.exists(blob),
        }
        Ok(())
    }

    /// A blob's bytes from `offset` on.
    async fn bytes(&self, blob: &Descriptor, offset: u64) -> Result<ReceiverStream<io::Result<Bytes>>> {
        let (store, scope, digest) = (self.store.clone(), self.scope.clone(), blob.digest.clone());
        let file = blocking(move || Ok(store.open_reader(&scope, &digest)?.into_file())).await?;
        let tracked = (Arc::clone(&self.tracker), blob.clone());
        let chunks = read::chunks(file, offset, blob.size, CHUNK, move |bytes| tracked.0.moved(&tracked.1, bytes));
        Ok(ReceiverStream::new(chunks))
    }

    /// Pushes a manifest or index as `object`.
    async fn document(&self, descriptor: &Descriptor, object: &str) -> Result<()> {
        if self.repository.has_manifest(object, &descriptor.digest).await? {
            self.tracker.exists(descriptor);
            return Ok(());
        }
        let bytes = self.read(descriptor).await?;
        self.repository.put_manifest(object, &descriptor.media_type, bytes).await?;
        self.tracker.complete(descriptor);
        Ok(())
    }

    async fn read(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let (store, scope, digest) = (self.store.clone(), self.scope.clone(), descriptor.digest.clone());
        blocking(move || {
            let blob = store.open_reader(&scope, &digest)?;
            let size = usize::try_from(blob.size()).ok().filter(|_| blob.size() <= MAX_DOCUMENT);
            let size = size.ok_or_else(|| Error::invalid_argument(format!("document {digest} is too large")))?;
            let mut bytes = vec![0; size];
            let read = blob.read_at(&mut bytes, 0).map_err(|error| Error::io(format!("read {digest}"), error))?;
            bytes.truncate(read);
            Ok(Bytes::from(bytes))
        })
        .await
    }
}
