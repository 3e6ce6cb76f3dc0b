//! Layers become snapshots, each in a directory of its own, joined into a chain by their commits.
//!
//! ```text
//! lock the chain id ─► prepare ── AlreadyExists: it is there, or a remote snapshotter has it ─► done
//!                        │ read-only mounts: the snapshotter has put the content there ─────────┐
//!                        ▼                                                                      ▼
//!       follow the blob as it arrives ─► apply, diff id as promised? ─► blob whole? ─► commit (chain id, parent)
//! ```
//! With the capability `rebase` the parent is named only at the commit, so that all layers are applied at once;
//! otherwise each waits for the one below. A layer that exists, or that a remote snapshotter offers, is not fetched.

mod active;
mod chains;
mod layer;
mod plan;

pub(crate) use plan::{Target, pair};

use super::{
    Tracker,
    fetch::{Fetches, SourceLabel, Stop, Stopper, Ticket, Turns, Want},
};
use active::Extracted;
use chains::Chains;
use client::oci::Descriptor;
use distribution::Repository;
use layer::Layer;
use model::{Digest, Error, FieldMask, Labels, Result, Scope};
use std::sync::Arc;
use store::{
    Store,
    layers::{ApplyOptions, StreamProcessor},
};
use tokio::{sync::Semaphore, task::JoinSet};

/// Most layers unpacked at a time, whatever the number of cores: each takes some MiB.
const MOST: usize = 6;
/// Layers of one registry that are unpacked as they come, if fewer are unpacked at a time: as many as are fetched.
const FOLLOWED: usize = 3;
/// Most layers of one image on their way, be they fetched, unpacked or waiting.
const WINDOW: usize = 16;

/// What all unpacking shares. Clones are the same.
///
/// A layer has a permit while it is worked on, never while it waits for its registry. One that is unpacked as it comes
/// keeps a thread, its buffers and its decoder meanwhile, so it needs a place besides, of which one registry has its
/// share only. Without one it is unpacked once it is whole, and then waits for nothing: no registry, however slowly
/// it sends, holds up the layers of others.
#[derive(Clone, Debug)]
pub(crate) struct Unpacking {
    permits: Arc<Semaphore>,
    places: Arc<Turns>,
    chains: Chains,
    options: ApplyOptions,
}

/// Where the blobs of layers come from.
#[derive(Clone, Debug)]
pub(crate) enum Supply {
    /// They are in the store.
    Stored,
    /// They are fetched.
    Registry {
        /// All that is on its way.
        fetches: Fetches,
        /// Where they are.
        repository: Arc<Repository>,
        /// What they are labelled with.
        source: SourceLabel,
    },
}

/// One image to unpack.
pub(crate) struct Job {
    pub(crate) unpacking: Unpacking,
    pub(crate) store: Store,
    pub(crate) scope: Scope,
    /// Where to.
    pub(crate) target: Target,
    pub(crate) supply: Supply,
    pub(crate) tracker: Arc<Tracker>,
    /// The image's configuration.
    pub(crate) config: Digest,
    /// The layers with their uncompressed digests, the lowest first.
    pub(crate) layers: Vec<(Descriptor, Digest)>,
}

impl Unpacking {
    /// `at_once` layers are unpacked at a time; 0: as many as there are cores.
    pub(crate) fn new(at_once: usize, processors: Arc<[StreamProcessor]>, sync_fs: bool) -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, MOST);
        let at_once = if at_once == 0 { cores } else { at_once };
        let permits = Arc::new(Semaphore::new(at_once));
        let places = Arc::new(Turns::new(at_once.clamp(FOLLOWED, MOST)));
        let options = ApplyOptions { processors, sync_fs, ..ApplyOptions::default() };
        Self { permits, places, chains: Chains::default(), options }
    }
}

impl Job {
    /// Unpacks the image. Returns the name of its topmost snapshot, if it has layers.
    ///
    /// # Errors
    /// Those of the supply, of the layers and of the snapshotter; then nothing half-made is left.
    pub(crate) async fn run(self) -> Result<Option<Digest>> {
        let stopper = Stopper::new();
        let Some(layers) = plan::missing(&self).await? else { return Ok(None) };
        let top = layers.top.clone();
        let apart = self.target.rebase && layers.missing.len() > 1;
        let job = Arc::new(self);
        if apart {
            job.all_at_once(&layers.missing, &stopper.watch()).await?;
        } else {
            job.one_by_one(&layers.missing, &stopper.watch()).await?;
        }
        job.label_config(&top).await?;
        Ok(Some(top))
    }

    /// Extracts every layer at once, and commits them from the lowest up as soon as that is possible.
    async fn all_at_once(self: &Arc<Self>, layers: &[Layer], stop: &Stop) -> Result<()> {
        let mut tasks = JoinSet::new();
        let mut waiting = layers.iter().enumerate();
        let mut extracted: Vec<Option<Extracted>> = layers.iter().map(|_| None).collect();
        let mut next = 0;
        loop {
            for (index, layer) in waiting.by_ref().take(WINDOW.saturating_sub(tasks.len())) {
                let layer = Layer { apart: true, ..layer.clone() };
                let (job, stop) = (Arc::clone(self), stop.clone());
                tasks.spawn(async move { (index, job.extract(&layer, &stop, &mut || {}).await) });
            }
            let Some(joined) = tasks.join_next().await else { return Ok(()) };
            let (index, done) = joined.map_err(|error| Error::internal("unpack a layer").caused_by(error))?;
            extracted[index] = Some(done?);
            while let Some(done) = extracted.get_mut(next).and_then(Option::take) {
                self.commit(&Layer { apart: true, ..layers[next].clone() }, done).await?;
                next += 1;
            }
        }
    }

    /// Extracts each layer on top of the one below; from the first that is fetched on, those above are fetched too.
    async fn one_by_one(self: &Arc<Self>, layers: &[Layer], stop: &Stop) -> Result<()> {
        let mut ahead = Vec::new();
        for (index, layer) in layers.iter().enumerate() {
            let mut begin = || {
                if ahead.is_empty() {
                    ahead.extend(layers[index..].iter().filter_map(|layer| self.ticket(layer)));
                }
            };
            let extracted = self.extract(layer, stop, &mut begin).await?;
            self.commit(layer, extracted).await?;
        }
        Ok(())
    }

    /// A place on the flight that brings `layer`, unless it is in the store.
    fn ticket(&self, layer: &Layer) -> Option<Ticket> {
        let Supply::Registry { fetches, repository, source } = &self.supply else { return None };
        let (repository, scope) = (Arc::clone(repository), self.scope.clone());
        let ticket = fetches.join(Want { repository, scope, blob: layer.blob.clone(), source: source.clone() });
        // Told once it is true.
        self.tracker.add(&layer.blob);
        Some(ticket)
    }

    /// Ties the topmost snapshot to the image's configuration, for the garbage collector.
    async fn label_config(&self, top: &Digest) -> Result<()> {
        let key = format!("containerd.io/gc.ref.snapshot.{}", self.target.snapshotter);
        label(&self.store, &self.scope, &self.config, Labels::from([(key, top.to_string())])).await
    }
}

/// Gives blob `digest` the `labels`, beside what it has.
pub(crate) async fn label(store: &Store, scope: &Scope, digest: &Digest, labels: Labels) -> Result<()> {
    let (store, scope, digest) = (store.clone(), scope.clone(), digest.clone());
    crate::tasks::blocking(move || label_blocking(&store, &scope, &digest, &labels)).await
}

/// The same from a thread that may block.
pub(crate) fn label_blocking(store: &Store, scope: &Scope, digest: &Digest, labels: &Labels) -> Result<()> {
    let has = store.blob_info(scope, digest)?.labels;
    if labels.iter().all(|(key, value)| has.get(key) == Some(value)) {
        return Ok(());
    }
    let mask = FieldMask(labels.keys().map(|key| format!("labels.{key}")).collect());
    store.update_blob(scope, digest, labels.clone(), &mask).map(drop)
}
