//! What of an archive counts: documents with their labels, images to unpack, names.

use super::{docker::StoredLayers, keep::Keeper};
use crate::transfer::{ImageStore, documents::StoreDocuments, image_store::REF_SOURCE};
use client::{
    Documents as _, Listing,
    archive::{self, Archive, Place, Sources, blob_path},
    check_depth, gc_labels,
    oci::{Descriptor, Document as _, Image, Kind, is_non_distributable},
};
use model::{Digest, Error, Labels, Result};
use std::collections::{HashMap, HashSet};
use tokio::{runtime::Handle, task::JoinSet};

/// Everything an import still has to do once its archive is read.
#[derive(Debug)]
pub(super) struct Plan {
    documents: HashMap<Digest, (Option<Place>, Labels)>,
    /// Images that may be unpacked.
    pub(super) images: Vec<Unpackable>,
    /// The index, and its entries that count.
    pub(super) named: Vec<Descriptor>,
}

/// An image whose blobs are all there.
#[derive(Debug)]
pub(super) struct Unpackable {
    pub(super) manifest: Digest,
    pub(super) config: Digest,
    pub(super) image: Image,
    pub(super) layers: Vec<Descriptor>,
}

impl Plan {
    /// Looks at every document below the index.
    ///
    /// # Errors
    /// `NotFound` for content that is neither in the archive nor in the store, or when nothing counts.
    pub(super) async fn new(archive: &Archive, keeper: &Keeper, to: &ImageStore, compress: bool) -> Result<Self> {
        let layout = archive::read(archive, &StoredLayers { keeper, compress }).await?;
        let store = StoreDocuments { store: keeper.store.clone(), scope: keeper.scope.clone() };
        let walk = Walk { sources: Sources { store: &store, archive, layout: &layout }, keeper, to };
        let mut plan = Self { documents: HashMap::new(), images: Vec::new(), named: Vec::new() };
        plan.descend(&walk).await?;
        Ok(plan)
    }

    async fn descend(&mut self, walk: &Walk<'_>) -> Result<()> {
        let index = &walk.sources.layout.index;
        let mut pending = vec![(index.clone(), 0)];
        let mut seen = HashSet::new();
        while let Some((descriptor, depth)) = pending.pop() {
            check_depth(&descriptor, depth)?;
            if !seen.insert(descriptor.digest.clone()) {
                continue;
            }
            let children = walk.children(&descriptor).await?;
            let place = walk.place(&descriptor.digest);
            self.documents.insert(descriptor.digest.clone(), (place, gc_labels(&children, false)));
            let selected = walk.to.select(&descriptor, children.clone())?;
            if Kind::of(&descriptor.media_type) == Kind::Index {
                self.listed(walk, &children);
            }
            if Kind::of(&descriptor.media_type) == Kind::Manifest {
                let image = self.image(walk, &descriptor, &selected).await?;
                self.images.extend(image);
                continue;
            }
            if depth == 0 {
                walk.check_not_empty(&selected)?;
                self.named.push(descriptor);
                self.named.extend(selected.iter().cloned().map(with_ref_source));
            }
            for child in selected.into_iter().rev() {
                match Kind::of(&child.media_type) {
                    Kind::Index | Kind::Manifest => pending.push((child, depth + 1)),
                    Kind::Config | Kind::Layer | Kind::Other => self.leaf(walk, &child)?,
                }
            }
        }
        Ok(())
    }

    /// Takes in the documents that an index lists, though their images do not count: the index stays readable.
    fn listed(&mut self, walk: &Walk<'_>, children: &[Descriptor]) {
        for child in children {
            if let Some(place @ Place::Memory(_)) = walk.place(&child.digest) {
                self.documents.entry(child.digest.clone()).or_insert((Some(place), Labels::new()));
            }
        }
    }

    /// Takes in the children of a manifest. It is an image if its config and all layers are there.
    async fn image(
        &mut self,
        walk: &Walk<'_>,
        manifest: &Descriptor,
        children: &[Descriptor],
    ) -> Result<Option<Unpackable>> {
        let is = |child: &&Descriptor, kind| Kind::of(&child.media_type) == kind;
        for child in children {
            self.leaf(walk, child)?;
        }
        let config = children.iter().find(|child| is(child, Kind::Config));
        let layers: Vec<Descriptor> = children.iter().filter(|child| is(child, Kind::Layer)).cloned().collect();
        let Some(config) = config.filter(|_| !layers.is_empty() && !walk.to.unpacks.is_empty()) else {
            return Ok(None);
        };
        let bytes = walk.sources.document(config).await?;
        let image = Image::parse(&format!("content {}", config.digest), &bytes)?;
        Ok(Some(Unpackable { manifest: manifest.digest.clone(), config: config.digest.clone(), image, layers }))
    }

    /// Takes in content that lists nothing.
    fn leaf(&mut self, walk: &Walk<'_>, descriptor: &Descriptor) -> Result<()> {
        match walk.place(&descriptor.digest) {
            Some(place @ Place::Memory(_)) => {
                check_size(descriptor, place.size())?;
                self.documents.entry(descriptor.digest.clone()).or_insert((Some(place), Labels::new()));
                Ok(())
            }
            Some(place) => check_size(descriptor, place.size()),
            None => match walk.keeper.hold(&descriptor.digest) {
                // Whoever made the archive was not allowed to put it in.
                Err(error) if error.is_not_found() && is_non_distributable(&descriptor.media_type) => Ok(()),
                Err(error) if error.is_not_found() => Err(walk.missing(&descriptor.digest, error)),
                held => held,
            },
        }
    }

    /// Stores the documents, all at once: what waits for the disk is one sync for all of them.
    pub(super) fn keep_documents(&self, keeper: &Keeper, runtime: &Handle) -> Result<()> {
        let mut tasks = JoinSet::new();
        for (digest, (place, labels)) in &self.documents {
            let (keeper, digest, place, labels) = (keeper.clone(), digest.clone(), place.clone(), labels.clone());
            tasks.spawn_blocking_on(move || keeper.document(&digest, place.as_ref(), &labels), runtime);
            if tasks.len() >= AT_ONCE {
                settle(runtime.block_on(tasks.join_next()))?;
            }
        }
        while let Some(done) = runtime.block_on(tasks.join_next()) {
            settle(Some(done))?;
        }
        Ok(())
    }
}

/// Most documents stored at once.
const AT_ONCE: usize = 8;

fn settle(done: Option<std::result::Result<Result<()>, tokio::task::JoinError>>) -> Result<()> {
    done.unwrap_or(Ok(Ok(()))).map_err(|error| Error::internal("store a document").caused_by(error))?
}

/// Its names come from its annotations.
fn with_ref_source(mut entry: Descriptor) -> Descriptor {
    entry.annotations.insert(REF_SOURCE.to_owned(), "annotation".to_owned());
    entry
}

fn check_size(descriptor: &Descriptor, size: u64) -> Result<()> {
    if size == descriptor.size {
        return Ok(());
    }
    let (digest, expected) = (&descriptor.digest, descriptor.size);
    Err(Error::failed_precondition(format!("content {digest} has {size} bytes in the archive instead of {expected}")))
}

/// What documents are looked at with.
struct Walk<'a> {
    sources: Sources<'a, StoreDocuments>,
    keeper: &'a Keeper,
    to: &'a ImageStore,
}

impl Walk<'_> {
    /// What `parent` lists.
    async fn children(&self, parent: &Descriptor) -> Result<Vec<Descriptor>> {
        if self.place(&parent.digest).is_none() {
            let held = self.keeper.hold(&parent.digest);
            held.map_err(|error| if error.is_not_found() { self.missing(&parent.digest, error) } else { error })?;
        }
        let bytes = self.sources.document(parent).await?;
        Ok(Listing::parse(parent, &bytes)?.map(|listing| listing.children()).unwrap_or_default())
    }

    /// Where this import has brought `digest`. A file that only claims to be it does not count.
    fn place(&self, digest: &Digest) -> Option<Place> {
        let place = self.sources.layout.place(self.sources.archive, digest)?;
        let lies = matches!(&place, Place::Stored { written, .. } if written.digest != *digest);
        (!lies).then_some(place)
    }

    fn missing(&self, digest: &Digest, cause: Error) -> Error {
        let what = &self.sources.archive.what;
        let text = match self.sources.archive.blob(digest) {
            Some(Place::Stored { written, .. }) => {
                format!("content digest {digest}: {} in {what} has digest {}", blob_path(digest), written.digest)
            }
            _ => format!("content digest {digest} is neither in {what} nor in the content store"),
        };
        Error::not_found(text).caused_by(cause)
    }

    /// # Errors
    /// `NotFound`, saying what there is.
    fn check_not_empty(&self, selected: &[Descriptor]) -> Result<()> {
        let all = &self.sources.layout.entries;
        if !selected.is_empty() {
            return Ok(());
        }
        let mut there: Vec<String> =
            all.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect();
        there.sort();
        there.dedup();
        let there = if there.is_empty() { "no image at all".to_owned() } else { there.join(", ") };
        Err(Error::not_found(format!(
            "image might be filtered out: {} has no image for the platforms wanted, it has {there}",
            self.sources.archive.what
        )))
    }
}
