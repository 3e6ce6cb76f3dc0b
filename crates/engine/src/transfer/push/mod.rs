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

/// A step through an image.
#[derive(Debug)]
enum Step {
    /// Look at it; how many indexes it is in, and the repository that its parent may be mounted from.
    Into(Descriptor, usize, Option<String>),
    /// Everything below this index was looked at.
    OutOf(Descriptor),
}

/// An image in the order in which it is pushed.
#[derive(Debug, Default)]
struct Order {
    /// With the repository that each may be mounted from.
    blobs: Vec<(Descriptor, Option<String>)>,
    manifests: Vec<Descriptor>,
    /// Each behind all that it lists.
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
        let root = target.digest.clone();
        let top = reference.pushed_as(&root).to_owned();
        let object = move |digest: &Digest| if *digest == root { top.clone() } else { digest.to_string() };
        let name = object.clone();
        self.each(order.manifests, move |push, manifest| {
            let object = name(&manifest.digest);
            async move { push.document(&manifest, &object).await }
        })
        .await?;
        for index in order.indexes {
            self.document(&index, &object(&index.digest)).await?;
        }
        Ok(())
    }

    /// Walks the image, and looks at each thing once, however often it is listed.
    async fn order(self: &Arc<Self>, from: &ImageStore, target: &Descriptor) -> Result<Order> {
        let (mut order, mut seen, from) = (Order::default(), HashSet::new(), Arc::new(from.clone()));
        let mut pending = vec![Step::Into(target.clone(), 0, None)];
        while let Some(step) = pending.pop() {
            let (parent, depth, source) = match step {
                Step::Into(parent, depth, source) => (parent, depth, source),
                Step::OutOf(index) => {
                    order.indexes.push(index);
                    continue;
                }
            };
            check_depth(&parent, depth)?;
            let kind = match Kind::of(&parent.media_type) {
                Kind::Config | Kind::Layer => Kind::Other,
                kind => kind,
            };
            if !seen.insert((parent.digest.clone(), kind)) {
                continue;
            }
            self.tracker.add(&parent);
            let above = self.mounted_from(&parent.digest).await?.or(source);
            if kind == Kind::Other {
                order.blobs.push((parent, above));
                continue;
            }
            let children = self.children(&parent, &from).await?;
            match kind {
                Kind::Index => pending.push(Step::OutOf(parent)),
                _ => order.manifests.push(parent),
            }
            let into = |child| Step::Into(child, depth + 1, above.clone());
            pending.extend(children.into_iter().rev().map(into));
        }
        Ok(order)
    }

    /// What `parent` lists for the platforms that `from` wants.
    async fn children(self: &Arc<Self>, parent: &Descriptor, from: &Arc<ImageStore>) -> Result<Vec<Descriptor>> {
        let (push, parent, from) = (Arc::clone(self), parent.clone(), Arc::clone(from));
        // Beside the runtime's threads: a document of 8 MiB takes a while.
        blocking(move || {
            let listing = Listing::parse(&parent, &push.read(&parent)?)?;
            let mut children = listing.map(|listing| listing.children()).unwrap_or_default();
            children.retain(|child| child.platform.as_ref().is_none_or(|platform| from.wants(platform)));
            push.tracker.found(&parent, &children);
            Ok(children)
        })
        .await
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
    async fn document(self: &Arc<Self>, descriptor: &Descriptor, object: &str) -> Result<()> {
        if self.repository.has_manifest(object, &descriptor.digest).await? {
            self.tracker.exists(descriptor);
            return Ok(());
        }
        let (push, read) = (Arc::clone(self), descriptor.clone());
        let bytes = blocking(move || push.read(&read)).await?;
        self.repository.put_manifest(object, &descriptor.media_type, bytes).await?;
        self.tracker.complete(descriptor);
        Ok(())
    }

    /// A document's bytes. Blocks on the disk.
    fn read(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let digest = &descriptor.digest;
        let blob = self.store.open_reader(&self.scope, digest)?;
        let size = usize::try_from(blob.size()).ok().filter(|_| blob.size() <= MAX_DOCUMENT);
        let size = size.ok_or_else(|| Error::invalid_argument(format!("document {digest} is too large")))?;
        let mut bytes = vec![0; size];
        let read = blob.read_at(&mut bytes, 0).map_err(|error| Error::io(format!("read {digest}"), error))?;
        bytes.truncate(read);
        Ok(Bytes::from(bytes))
    }
}
