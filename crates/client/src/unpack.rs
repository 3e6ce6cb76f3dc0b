//! Layers become snapshots: each applied into a snapshot of its own, joined into a chain by their commits.
//!
//! ```text
//! prepare(key) ── AlreadyExists: a remote snapshotter has it ──► done
//!      │ read-only mounts: the snapshotter has put the content there ──────────┐
//!      ▼                                                                       ▼
//! wait for the blob ──► apply ──► diff id as promised? ──► commit(chain id, parent) ──► label the blob
//! ```
//! With the capability `rebase` the parent is named only at the commit, so all layers are applied at once;
//! otherwise each waits for the one below.

use crate::oci::{Descriptor, chain_ids};
use crate::progress::{Event, Progress};
use crate::{Client, ImageContent, Reply, descriptor_to_wire};
use model::{Digest, Error, Labels, Result};
use proto::api::containerd::services::diff::v1::ApplyRequest;
use proto::api::containerd::services::snapshots::v1::{
    CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest,
};
use proto::api::containerd::types::Mount;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;

/// Told to the snapshotter: which snapshot a layer will be, which layer, and on what.
const LABEL_REF: &str = "containerd.io/snapshot.ref";
const LABEL_DIFF_ID: &str = "containerd.io/snapshot/diff-id";

/// Labels that a descriptor's annotations hand on to its snapshot.
const INHERITED: &str = "containerd.io/snapshot/";

/// On a blob: the digest of what it holds uncompressed.
pub(crate) const LABEL_UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// Most attempts at a key that exists without its snapshot.
const ATTEMPTS: usize = 3;

/// Becomes true when a blob is in the store; closed before that, it never will be.
pub(crate) type Ready = watch::Receiver<bool>;

/// Where and how layers are unpacked.
#[derive(Clone)]
pub struct Unpacker {
    client: Client,
    snapshotter: String,
    rebase: bool,
    sync_fs: bool,
    permits: Arc<Semaphore>,
    progress: Arc<dyn Progress>,
}

/// A layer on its way.
#[derive(Clone)]
struct Layer {
    blob: Descriptor,
    diff_id: Digest,
    chain_id: Digest,
    /// The chain below it, if any.
    parent: Option<Digest>,
    /// Whether it is extracted by itself and put on its parent by the commit.
    apart: bool,
    ready: Option<Ready>,
}

/// An active snapshot that holds a layer, to be committed; `None` if the layer needs no commit.
type Extracted = Option<String>;

impl std::fmt::Debug for Unpacker {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Unpacker").field("snapshotter", &self.snapshotter).finish_non_exhaustive()
    }
}

impl Unpacker {
    /// An unpacker into `snapshotter`, or the namespace's default.
    pub async fn new(
        client: &Client,
        snapshotter: Option<&str>,
        sync_fs: bool,
        progress: Arc<dyn Progress>,
    ) -> Result<Self> {
        let snapshotter = client.snapshotter(snapshotter).await?;
        let rebase = client.snapshotter_capabilities(&snapshotter).await?.iter().any(|name| name == "rebase");
        // Applying is inflating and hashing: more at once than there are cores helps nobody.
        let cores = std::thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        let permits = Arc::new(Semaphore::new(cores));
        Ok(Self { client: client.clone(), snapshotter, rebase, sync_fs, permits, progress })
    }

    /// Where it unpacks to.
    pub fn snapshotter(&self) -> &str {
        &self.snapshotter
    }

    /// Unpacks the layers of `image`, which are in the store. Returns the name of the topmost snapshot.
    pub async fn unpack(&self, image: &ImageContent) -> Result<Option<Digest>> {
        self.unpack_when_ready(image, &HashMap::new()).await
    }

    /// The same while blobs are still being stored: each layer waits for its own.
    pub(crate) async fn unpack_when_ready(
        &self,
        image: &ImageContent,
        ready: &HashMap<Digest, Ready>,
    ) -> Result<Option<Digest>> {
        let layers = self.missing_layers(image, ready).await?;
        if layers.iter().any(|layer| layer.apart) {
            self.extract_all(layers).await?;
        } else {
            for layer in layers {
                let key = self.extract(&layer).await?;
                self.commit(&layer, key).await?;
            }
        }
        let Some(chain_id) = image.chain_id()? else { return Ok(None) };
        let config = &image.manifest.config.digest;
        wait(ready.get(config).cloned(), config).await?;
        let label = format!("containerd.io/gc.ref.snapshot.{}", self.snapshotter);
        self.client.label_blob(config, Labels::from([(label, chain_id.to_string())])).await?;
        Ok(Some(chain_id))
    }

    /// Whether the topmost snapshot of `image` exists.
    pub async fn is_unpacked(&self, image: &ImageContent) -> Result<bool> {
        match image.chain_id()? {
            Some(chain_id) => self.client.has_snapshot(&self.snapshotter, chain_id.as_str()).await,
            None => Ok(true),
        }
    }

    /// The layers above the topmost snapshot that exists.
    async fn missing_layers(&self, image: &ImageContent, ready: &HashMap<Digest, Ready>) -> Result<Vec<Layer>> {
        let (blobs, diff_ids): (Vec<Descriptor>, Vec<Digest>) = image.layers()?.into_iter().unzip();
        let chain = chain_ids(&diff_ids);
        let mut layers = Vec::new();
        // From the top: a snapshot's parents exist as long as it does.
        for (index, (blob, diff_id)) in blobs.into_iter().zip(diff_ids).enumerate().rev() {
            let chain_id = chain[index].clone();
            if self.client.has_snapshot(&self.snapshotter, chain_id.as_str()).await? {
                break;
            }
            let parent = index.checked_sub(1).map(|below| chain[below].clone());
            let ready = ready.get(&blob.digest).cloned();
            layers.push(Layer { blob, diff_id, chain_id, parent, apart: false, ready });
        }
        layers.reverse();
        if self.rebase && layers.len() > 1 {
            layers.iter_mut().for_each(|layer| layer.apart = true);
        }
        Ok(layers)
    }

    /// Extracts every layer at once, then commits them from the lowest up.
    async fn extract_all(&self, layers: Vec<Layer>) -> Result<()> {
        let mut tasks = JoinSet::new();
        let mut results: Vec<Option<Extracted>> = vec![None; layers.len()];
        let mut next = 0;
        for (index, layer) in layers.iter().cloned().enumerate() {
            let unpacker = self.clone();
            tasks.spawn(async move { (index, unpacker.extract(&layer).await) });
        }
        let mut failure = None;
        while let Some(joined) = tasks.join_next().await {
            match joined {
                Ok((index, Ok(extracted))) => results[index] = Some(extracted),
                Ok((_, Err(error))) => failure = failure.or(Some(error)),
                Err(panic) => failure = failure.or(Some(Error::internal("unpack a layer").caused_by(panic))),
            }
            while failure.is_none() && next < layers.len() && results[next].is_some() {
                let extracted = results[next].take().flatten();
                if let Err(error) = self.commit(&layers[next], extracted).await {
                    failure = Some(error);
                }
                next += 1;
            }
        }
        let Some(error) = failure else { return Ok(()) };
        for key in results.into_iter().flatten().flatten() {
            self.remove(&key).await;
        }
        Err(error)
    }

    /// Applies a layer into an active snapshot.
    async fn extract(&self, layer: &Layer) -> Result<Extracted> {
        let Some((key, mounts)) = self.prepare(layer).await? else {
            self.progress.on(Event::Unpacked(&layer.blob.digest));
            return Ok(None);
        };
        if is_staged(&mounts) {
            return Ok(Some(key));
        }
        match self.apply(layer, mounts).await {
            Ok(()) => Ok(Some(key)),
            Err(error) => {
                self.remove(&key).await;
                Err(error)
            }
        }
    }

    /// An active snapshot for a layer, or nothing if its committed one exists after all.
    async fn prepare(&self, layer: &Layer) -> Result<Option<(String, Vec<Mount>)>> {
        let annotations = layer.blob.annotations.iter().filter(|(key, _)| key.starts_with(INHERITED));
        let mut labels: Labels = annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
        labels.insert(LABEL_REF.to_owned(), layer.chain_id.to_string());
        labels.insert(LABEL_DIFF_ID.to_owned(), layer.diff_id.to_string());
        let parent = layer.parent.as_ref().filter(|_| !layer.apart);
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let key = format!("extract-{} {}", crate::unique_part(), layer.chain_id);
            let request = PrepareSnapshotRequest {
                snapshotter: self.snapshotter.clone(),
                key: key.clone(),
                parent: parent.map(ToString::to_string).unwrap_or_default(),
                labels: labels.clone(),
            };
            match self.client.snapshots().prepare(request).await.reply() {
                Ok(reply) => return Ok(Some((key, reply.mounts))),
                Err(error) if error.is_already_exists() => last = Some(error),
                Err(error) => return Err(error.context(format!("prepare a snapshot for layer {}", layer.blob.digest))),
            }
            if self.client.has_snapshot(&self.snapshotter, layer.chain_id.as_str()).await? {
                return Ok(None);
            }
        }
        let error = last.unwrap_or_else(|| Error::internal("no attempt was made"));
        Err(error.context(format!("prepare a snapshot for layer {}", layer.blob.digest)))
    }

    /// Waits for the blob, applies it and checks what it held.
    async fn apply(&self, layer: &Layer, mounts: Vec<Mount>) -> Result<()> {
        let blob = &layer.blob.digest;
        wait(layer.ready.clone(), blob).await?;
        let _permit = self.permits.acquire().await.map_err(|_| Error::cancelled("unpacking was stopped"))?;
        self.progress.on(Event::Unpacking(blob));
        let above_others = layer.apart && layer.parent.is_some();
        let request = ApplyRequest {
            diff: Some(descriptor_to_wire(&layer.blob)),
            mounts: if above_others { with_whiteouts(mounts) } else { mounts },
            payloads: BTreeMap::new(),
            sync_fs: self.sync_fs,
        };
        let applied = self.client.diffs().apply(request).await.reply();
        let applied = applied.map_err(|error| error.context(format!("unpack layer {blob}")))?.applied;
        let diff_id = applied.unwrap_or_default().digest;
        if diff_id == layer.diff_id.as_str() {
            return Ok(());
        }
        Err(Error::failed_precondition(format!(
            "layer {blob} has diff id {diff_id} when unpacked, but the image's config says {}",
            layer.diff_id
        )))
    }

    async fn commit(&self, layer: &Layer, extracted: Extracted) -> Result<()> {
        let Some(key) = extracted else { return Ok(()) };
        let parent = layer.parent.as_ref().filter(|_| layer.apart).map(ToString::to_string);
        let request = CommitSnapshotRequest {
            snapshotter: self.snapshotter.clone(),
            name: layer.chain_id.to_string(),
            key: key.clone(),
            labels: Labels::from([(LABEL_REF.to_owned(), layer.chain_id.to_string())]),
            parent: parent.unwrap_or_default(),
        };
        match self.client.snapshots().commit(request).await.reply() {
            Ok(()) => {}
            Err(error) => {
                self.remove(&key).await;
                // Somebody else unpacked the same layer meanwhile.
                if !error.is_already_exists() {
                    return Err(error.context(format!("commit the snapshot of layer {}", layer.blob.digest)));
                }
            }
        }
        let labels = Labels::from([(LABEL_UNCOMPRESSED.to_owned(), layer.diff_id.to_string())]);
        match self.client.label_blob(&layer.blob.digest, labels).await {
            // A remote snapshotter needs no blob.
            Err(error) if !error.is_not_found() => return Err(error),
            _ => {}
        }
        self.progress.on(Event::Unpacked(&layer.blob.digest));
        Ok(())
    }

    /// Removes an active snapshot after a failure, which is what gets reported.
    async fn remove(&self, key: &str) {
        let request = RemoveSnapshotRequest { snapshotter: self.snapshotter.clone(), key: key.to_owned() };
        let _ = self.client.snapshots().remove(request).await;
    }
}

/// Waits until a blob is in the store.
async fn wait(ready: Option<Ready>, blob: &Digest) -> Result<()> {
    let Some(mut ready) = ready else { return Ok(()) };
    match ready.wait_for(|&stored| stored).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::aborted(format!("content {blob} was not stored"))),
    }
}

/// Whether the snapshotter has put the layer there already: it lets nobody write.
fn is_staged(mounts: &[Mount]) -> bool {
    mounts.last().is_some_and(|mount| mount.options.iter().any(|option| option == "ro"))
}

/// A layer applied without its parent still deletes from it: the applier must keep whiteouts instead of
/// carrying them out. It does so on an overlay mount, so that is what the bind mount is dressed up as, as
/// containerd's own client does (its issue 13030).
fn with_whiteouts(mounts: Vec<Mount>) -> Vec<Mount> {
    match &mounts[..] {
        [bind] if bind.r#type == "bind" => {
            let mut options: Vec<String> = bind.options.iter().filter(|&option| option != "rbind").cloned().collect();
            options.push(format!("upperdir={}", bind.source));
            vec![Mount { r#type: "overlay".into(), source: "overlay".into(), options, ..Mount::default() }]
        }
        _ => mounts,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bind(options: &[&str]) -> Mount {
        let options = options.iter().map(ToString::to_string).collect();
        Mount { r#type: "bind".into(), source: "/s/fs".into(), options, ..Mount::default() }
    }

    #[test]
    fn a_bind_mount_becomes_an_overlay_of_its_source() {
        let mounts = with_whiteouts(vec![bind(&["rw", "rbind"])]);
        assert_eq!((mounts[0].r#type.as_str(), mounts[0].options.join(",")), ("overlay", "rw,upperdir=/s/fs".into()));
        let two = vec![bind(&["rw"]), bind(&["rw"])];
        assert_eq!(with_whiteouts(two.clone()), two);
    }

    #[test]
    fn read_only_mounts_are_staged_content() {
        assert!(is_staged(&[bind(&["ro", "rbind"])]));
        assert!(!is_staged(&[bind(&["rw", "rbind"])]));
        assert!(!is_staged(&[]));
    }
}
