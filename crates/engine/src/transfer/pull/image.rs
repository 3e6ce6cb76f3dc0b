//! One image: its manifest, its configuration, and its layers into the store and a snapshotter.

use super::{Pull, join_one};
use crate::transfer::unpack::{Job, Supply, Target, pair};
use client::{
    MAX_DOCUMENT,
    oci::{Descriptor, Document as _, Image, Kind, media_types::LEGACY_CONFIG},
};
use model::{Labels, Result, validate_labels};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{Arc, atomic::Ordering},
};
use tokio::task::JoinSet;

/// Told to a remote snapshotter about each layer, so that it can get that by itself.
const IMAGE: &str = "containerd.io/snapshot/cri.image-ref";
const MANIFEST: &str = "containerd.io/snapshot/cri.manifest-digest";
const LAYER: &str = "containerd.io/snapshot/cri.layer-digest";
const LAYERS: &str = "containerd.io/snapshot/cri.image-layers";
/// Most blobs of one image on their way, be they fetched or waiting.
const WINDOW: usize = 16;

impl Pull {
    /// Brings `descriptor` and what it lists; anything but a manifest is a blob by itself.
    pub(super) async fn image(self: &Arc<Self>, descriptor: &Descriptor) -> Result<()> {
        if Kind::of(&descriptor.media_type) != Kind::Manifest {
            return self.blob(descriptor).await;
        }
        let children = self.children(descriptor).await?;
        let legacy = children.first().filter(|config| config.media_type == LEGACY_CONFIG).cloned();
        if legacy.is_some() {
            self.legacy.store(true, Ordering::Relaxed);
        }
        let (layers, others): (Vec<_>, Vec<_>) =
            children.into_iter().partition(|child| Kind::of(&child.media_type) == Kind::Layer);
        let mut unpacked = false;
        for other in once(others) {
            let is_config = Kind::of(&other.media_type) == Kind::Config || legacy.as_ref() == Some(&other);
            if is_config && !self.to.unpacks.is_empty() {
                unpacked |= self.unpack(descriptor, &other, &layers).await?;
            } else {
                self.blob(&other).await?;
            }
        }
        if unpacked { Ok(()) } else { self.blobs(once(layers)).await }
    }

    /// Brings blobs, several at a time.
    async fn blobs(self: &Arc<Self>, blobs: Vec<Descriptor>) -> Result<()> {
        let mut tasks = JoinSet::new();
        for blob in blobs {
            if tasks.len() >= WINDOW {
                join_one(&mut tasks).await?;
            }
            let pull = Arc::clone(self);
            tasks.spawn(async move { pull.blob(&blob).await });
        }
        while !tasks.is_empty() {
            join_one(&mut tasks).await?;
        }
        Ok(())
    }

    /// Brings the configuration; if it is for a platform to unpack, the layers become snapshots as they come.
    async fn unpack(
        self: &Arc<Self>,
        manifest: &Descriptor,
        config: &Descriptor,
        layers: &[Descriptor],
    ) -> Result<bool> {
        let is_image = Kind::of(&config.media_type) == Kind::Config;
        if layers.is_empty() || (!is_image && config.size > MAX_DOCUMENT) {
            self.blob(config).await?;
            return Ok(layers.is_empty());
        }
        let (what, count) = (format!("content {}", config.digest), layers.len());
        let read = move |_: &Self, bytes: &[u8]| match Image::parse(&what, bytes) {
            // What has no type of its own may be something else than it is in most images.
            image if !is_image => Ok(image.ok().filter(|image| image.rootfs.diff_ids.len() == count)),
            image => image.map(Some),
        };
        let Some(image) = self.document(config, read).await? else { return Ok(false) };
        let Some(target) = self.transfers.config.target_of(&self.to.unpacks, &image) else { return Ok(false) };
        let target = Target::new(&self.transfers.store, &target.snapshotter)?;
        let mut layers = layers.to_vec();
        if target.annotations {
            annotate(&mut layers, &self.name, manifest);
        }
        let supply = Supply::Registry {
            fetches: self.transfers.fetches.clone(),
            repository: Arc::clone(&self.repository),
            source: self.source.clone(),
        };
        let job = Job {
            unpacking: self.transfers.unpacking.clone(),
            store: self.transfers.store.clone(),
            scope: self.scope.clone(),
            target,
            supply,
            tracker: Arc::clone(&self.tracker),
            config: config.digest.clone(),
            layers: pair(&manifest.digest, layers, image.diff_ids()?)?,
        };
        job.run().await?;
        Ok(true)
    }
}

/// Each blob once.
fn once(mut blobs: Vec<Descriptor>) -> Vec<Descriptor> {
    let mut seen = HashSet::new();
    blobs.retain(|blob| seen.insert(blob.digest.clone()));
    blobs
}

/// Says on each layer which image it belongs to, and what comes above it.
fn annotate(layers: &mut [Descriptor], name: &str, manifest: &Descriptor) {
    let digests: Vec<String> = layers.iter().map(|layer| layer.digest.to_string()).collect();
    for (index, layer) in layers.iter_mut().enumerate() {
        let mut more = BTreeMap::from([
            (IMAGE.to_owned(), name.to_owned()),
            (LAYER.to_owned(), layer.digest.to_string()),
            (MANIFEST.to_owned(), manifest.digest.to_string()),
            (LAYERS.to_owned(), as_many_as_fit(&digests[index..])),
        ]);
        layer.annotations.append(&mut more);
    }
}

/// As many digests as a label may hold.
fn as_many_as_fit(digests: &[String]) -> String {
    let mut joined = String::new();
    for digest in digests {
        let longer = if joined.is_empty() { digest.clone() } else { format!("{joined},{digest}") };
        if validate_labels(&Labels::from([(LAYERS.to_owned(), longer.clone())])).is_err() {
            break;
        }
        joined = longer;
    }
    joined
}
