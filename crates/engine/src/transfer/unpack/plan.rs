//! Which layers of an image have to be unpacked, and where to.

use super::{Job, layer::Layer};
use crate::tasks::blocking;
use client::oci::chain_ids;
use model::{Digest, Error, Labels, Resource, Result, Scope};
use store::{Store, snapshot::Capability};

/// A snapshotter to unpack into.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub(crate) snapshotter: String,
    /// Whether a snapshot can get its parent when it is committed.
    pub(crate) rebase: bool,
    /// Whether it wants to know which image a layer belongs to: it may offer the layer itself.
    pub(crate) annotations: bool,
}

impl Target {
    /// # Errors
    /// `InvalidArgument` for a snapshotter that is not there.
    pub(crate) fn new(store: &Store, snapshotter: &str) -> Result<Self> {
        let rebase = store.snapshotter_capabilities(snapshotter)?.contains(&Capability::Rebase);
        let exports = store.snapshotter_exports(snapshotter)?;
        let annotations = exports.get("enable_remote_snapshot_annotations").is_some_and(|value| value == "true");
        Ok(Self { snapshotter: snapshotter.to_owned(), rebase, annotations })
    }
}

/// The layers above the topmost snapshot that exists, and the name of the last.
pub(super) struct Layers {
    pub(super) missing: Vec<Layer>,
    pub(super) top: Digest,
}

/// `None` for an image without layers.
pub(super) async fn missing(job: &Job) -> Result<Option<Layers>> {
    let diff_ids: Vec<Digest> = job.layers.iter().map(|(_, diff_id)| diff_id.clone()).collect();
    let chain = chain_ids(&diff_ids);
    let Some(top) = chain.last().cloned() else { return Ok(None) };
    let (store, scope, snapshotter) = (job.store.clone(), job.scope.clone(), job.target.snapshotter.clone());
    let wanted = chain.clone();
    let there = blocking(move || topmost(&store, &scope, &snapshotter, &wanted)).await?;
    let layers = job.layers.iter().zip(&chain).enumerate().skip(there);
    let missing = layers.map(|(index, ((blob, diff_id), chain_id))| Layer {
        blob: blob.clone(),
        diff_id: diff_id.clone(),
        chain_id: chain_id.clone(),
        parent: index.checked_sub(1).map(|below| chain[below].clone()),
        apart: false,
        inherited: Labels::new(),
    });
    Ok(Some(Layers { missing: missing.map(|layer| layer.inherit()).collect(), top }))
}

/// How many layers exist as snapshots. The topmost is held by the lease: it keeps those below.
fn topmost(store: &Store, scope: &Scope, snapshotter: &str, chain: &[Digest]) -> Result<usize> {
    for (index, chain_id) in chain.iter().enumerate().rev() {
        match store.stat_snapshot(scope, snapshotter, chain_id.as_str()) {
            Err(error) if error.is_not_found() => continue,
            Err(error) => return Err(error),
            Ok(_) => {}
        }
        if let Some(lease) = &scope.lease {
            let resource = Resource::Snapshot(snapshotter.to_owned(), chain_id.to_string());
            store.add_lease_resource(scope, lease, &resource)?;
            // It may have been collected just before.
            match store.stat_snapshot(scope, snapshotter, chain_id.as_str()) {
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
                Ok(_) => {}
            }
        }
        return Ok(index + 1);
    }
    Ok(0)
}

/// Checks that every layer has its uncompressed digest.
///
/// # Errors
/// `InvalidArgument` if not.
pub(crate) fn pair<L>(manifest: &Digest, layers: Vec<L>, diff_ids: Vec<Digest>) -> Result<Vec<(L, Digest)>> {
    if layers.len() == diff_ids.len() {
        return Ok(layers.into_iter().zip(diff_ids).collect());
    }
    let (layers, diff_ids) = (layers.len(), diff_ids.len());
    Err(Error::invalid_argument(format!(
        "manifest {manifest} has {layers} layers but its config names {diff_ids} diff ids"
    )))
}
