//! One layer: prepared, filled as its blob arrives, committed.

use super::{
    Job,
    active::{Active, Extracted},
    chains::{Chain, Work},
    label,
};
use crate::{
    tasks::blocking,
    transfer::fetch::{ATTEMPTS, Bytes, Fetched, Follower, Permit, Stop, Ticket},
};
use client::oci::Descriptor;
use model::{Digest, Error, Labels, Mount, Result};
use std::{convert::Infallible, io::Read, pin::pin, sync::Arc};
use store::layers::{ApplyOptions, apply, check_readable};
use tokio::sync::OwnedMutexGuard;

/// Told to the snapshotter: which snapshot a layer will be, which layer, and on what.
const REFERENCE: &str = "containerd.io/snapshot.ref";
const DIFF_ID: &str = "containerd.io/snapshot/diff-id";
const PARENT: &str = "containerd.io/snapshot/parent-chain-id";
/// Labels that a descriptor's annotations hand on to its snapshot.
const INHERITED: &str = "containerd.io/snapshot/";
/// On a blob: the digest of what it holds uncompressed.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// A layer to unpack.
#[derive(Clone, Debug)]
pub(super) struct Layer {
    pub(super) blob: Descriptor,
    pub(super) diff_id: Digest,
    pub(super) chain_id: Digest,
    /// The chain below it, if any.
    pub(super) parent: Option<Digest>,
    /// Whether it is extracted by itself and put on its parent by the commit.
    pub(super) apart: bool,
    /// Labels of its snapshot that its descriptor brings along.
    pub(super) inherited: Labels,
}

impl Layer {
    /// Takes over what the descriptor's annotations say about the snapshot.
    pub(super) fn inherit(mut self) -> Self {
        let annotations = self.blob.annotations.iter().filter(|(key, _)| key.starts_with(INHERITED));
        self.inherited = annotations.map(|(key, value)| (key.clone(), value.clone())).collect();
        self
    }

    fn labels(&self) -> Labels {
        let mut labels = self.inherited.clone();
        labels.insert(REFERENCE.to_owned(), self.chain_id.to_string());
        labels.insert(DIFF_ID.to_owned(), self.diff_id.to_string());
        labels.extend(self.parent.as_ref().map(|parent| (PARENT.to_owned(), parent.to_string())));
        labels
    }
}

impl Job {
    /// Fills a snapshot with `layer`. `before_fetch` is called when its blob turns out to be needed.
    pub(super) async fn extract(
        &self,
        layer: &Layer,
        stop: &Stop,
        before_fetch: &mut (dyn FnMut() + Send),
    ) -> Result<Extracted> {
        let name = format!("{}/{}/{}", self.scope.namespace, self.target.snapshotter, layer.chain_id);
        let chain = self.unpacking.chains.of(name);
        let (guard, mut ticket) = self.lock(layer, &chain, before_fetch).await;
        for attempt in 1.. {
            let Some(active) = self.prepare(layer).await? else {
                return Ok(Extracted { active: None, _chain: guard });
            };
            if active.is_staged() {
                return Ok(Extracted { active: Some(active), _chain: guard });
            }
            check_readable(&layer.blob.media_type, &self.unpacking.options)
                .map_err(|error| error.context(format!("layer {}", layer.blob.digest)))?;
            before_fetch();
            let ticket = ticket.take().or_else(|| self.ticket(layer));
            // Those who wait may have a ticket now.
            chain.tell(&layer.blob.digest, 0);
            match self.fill(layer, active, ticket, &chain, stop).await {
                Ok(active) => {
                    let labels = Labels::from([(UNCOMPRESSED.to_owned(), layer.diff_id.to_string())]);
                    label(&self.store, &self.scope, &layer.blob.digest, labels).await?;
                    return Ok(Extracted { active: Some(active), _chain: guard });
                }
                Err((error, again)) if again && attempt < ATTEMPTS => {
                    tracing::debug!(layer = %layer.blob.digest, %error, "trying a layer again");
                }
                Err((error, _)) => return Err(error),
            }
        }
        Err(Error::internal("no attempt was made"))
    }

    /// Waits until the chain id is ours, and shows meanwhile how far those are who have it. They may leave without the
    /// snapshot: as soon as they need the layer's blob, we have a ticket too.
    async fn lock(
        &self,
        layer: &Layer,
        chain: &Chain,
        before_fetch: &mut (dyn FnMut() + Send),
    ) -> (OwnedMutexGuard<()>, Option<Ticket>) {
        let mut ticket = None;
        let guard = tokio::select! {
            biased;
            guard = chain.lock() => guard,
            never = self.board(layer, chain, &mut ticket, before_fetch) => match never {},
            never = self.echo(layer, chain) => match never {},
        };
        (guard, ticket)
    }

    /// Gets a ticket when those who have `chain` need the blob of `layer`, and waits with them for it.
    async fn board(
        &self,
        layer: &Layer,
        chain: &Chain,
        ticket: &mut Option<Ticket>,
        before_fetch: &mut (dyn FnMut() + Send),
    ) -> Infallible {
        let mut work = chain.hear();
        loop {
            // Never an error: `chain` may say more.
            drop(work.wait_for(|work| work.blob.as_ref() == Some(&layer.blob.digest)).await);
            if ticket.is_none() {
                before_fetch();
                *ticket = self.ticket(layer);
                if let Some(waiting) = ticket
                    && self.arrive(layer, waiting).await.is_err()
                {
                    // They try again, or it will be for us to find out.
                    *ticket = None;
                }
            }
            drop(work.changed().await);
        }
    }

    /// Tells as ours how far those who have `chain` are with the blob of `layer`.
    async fn echo(&self, layer: &Layer, chain: &Chain) -> Infallible {
        let mut work = chain.hear();
        loop {
            let Work { blob, unpacked } = work.borrow_and_update().clone();
            if unpacked > 0 && blob.as_ref() == Some(&layer.blob.digest) {
                self.tracker.extracting(&layer.blob, unpacked);
            }
            drop(work.changed().await);
        }
    }

    /// An active snapshot for a layer, or nothing if its committed one exists after all.
    async fn prepare(&self, layer: &Layer) -> Result<Option<Active>> {
        let (store, scope) = (self.store.clone(), self.scope.clone());
        let (snapshotter, layer) = (self.target.snapshotter.clone(), layer.clone());
        blocking(move || {
            let parent = layer.parent.as_ref().filter(|_| !layer.apart).map(Digest::as_str).unwrap_or_default();
            let what = |error: Error| error.context(format!("prepare a snapshot for layer {}", layer.blob.digest));
            let mut last = None;
            for _ in 0..ATTEMPTS {
                let key = format!("extract-{} {}", client::unique_part(), layer.chain_id);
                match store.prepare_snapshot(&scope, &snapshotter, &key, parent, layer.labels()) {
                    Ok(mounts) => {
                        return Ok(Some(Active { store, scope, snapshotter, key, mounts, committed: false }));
                    }
                    Err(error) if error.is_already_exists() => last = Some(error),
                    Err(error) => return Err(what(error)),
                }
                match store.stat_snapshot(&scope, &snapshotter, layer.chain_id.as_str()) {
                    Ok(_) => return Ok(None),
                    Err(error) if error.is_not_found() => {}
                    Err(error) => return Err(what(error)),
                }
            }
            Err(what(last.unwrap_or_else(|| Error::internal("no attempt was made"))))
        })
        .await
    }

    /// Waits until the layer's blob is in the store.
    async fn arrive(&self, layer: &Layer, ticket: &mut Ticket) -> Result<()> {
        match ticket.done(|bytes| self.tracker.moved(&layer.blob, bytes)).await? {
            Fetched::Existed => self.tracker.exists(&layer.blob),
            Fetched::New => self.tracker.complete(&layer.blob),
        }
        Ok(())
    }

    /// Applies the layer's blob, as it arrives if there is a place to follow it. A failure says whether another
    /// attempt may go better.
    async fn fill(
        &self,
        layer: &Layer,
        active: Active,
        ticket: Option<Ticket>,
        chain: &Chain,
        stop: &Stop,
    ) -> Result<Active, (Error, bool)> {
        let Some(mut ticket) = ticket else {
            return self.apply(layer, active, None, chain, stop).await.map_err(|error| (error, false));
        };
        let incoming = ticket.incoming();
        let filled = async {
            let mut arrival = pin!(self.arrive(layer, &mut ticket));
            let bytes = tokio::select! {
                biased;
                arrived = &mut arrival => arrived.map(|()| None)?,
                bytes = Bytes::growing(incoming, &self.unpacking.places) => Some(bytes?),
            };
            if bytes.is_none() {
                return Ok(self.apply(layer, active, None, chain, stop).await);
            }
            // Both to their ends: that bytes are wrong shows in what they unpack to before their digest tells.
            let (arrived, extracted) = tokio::join!(arrival, self.apply(layer, active, bytes, chain, stop));
            arrived.map(|()| extracted)
        };
        match filled.await {
            Ok(extracted) => extracted.map_err(|error| (error, false)),
            Err(error) => {
                let again = ticket.may_go_better(&error);
                Err((error, again))
            }
        }
    }

    /// Applies `bytes`, or those of the store.
    async fn apply(
        &self,
        layer: &Layer,
        active: Active,
        bytes: Option<Bytes>,
        chain: &Chain,
        stop: &Stop,
    ) -> Result<Active> {
        let permit = Permit::take(Arc::clone(&self.unpacking.permits)).await?;
        let options = ApplyOptions { expected_diff_id: Some(layer.diff_id.clone()), ..self.unpacking.options.clone() };
        let (store, scope, stop) = (self.store.clone(), self.scope.clone(), stop.clone());
        let (tracker, layer, chain) = (Arc::clone(&self.tracker), layer.clone(), chain.clone());
        blocking(move || {
            let blob = layer.blob.clone();
            let bytes = match bytes {
                Some(bytes) => bytes,
                None => Bytes::whole(store.open_reader(&scope, &blob.digest)?.into_file()),
            };
            // With its permit and place: the disk may work while the next layer is unpacked.
            let follower = Follower::new(bytes, permit, stop, move |bytes| {
                tracker.extracting(&blob, bytes);
                chain.tell(&blob.digest, bytes);
            });
            let mounts =
                if layer.apart && layer.parent.is_some() { active.mounts_apart() } else { active.mounts.clone() };
            apply_layer(follower, &layer, &mounts, &options)?;
            active.settle()?;
            Ok(active)
        })
        .await
    }

    /// Makes an extracted layer the snapshot that it is to be.
    pub(super) async fn commit(&self, layer: &Layer, extracted: Extracted) -> Result<()> {
        if let Some(active) = extracted.active {
            let layer = layer.clone();
            blocking(move || {
                let parent = layer.parent.as_ref().filter(|_| layer.apart).map(Digest::as_str).unwrap_or_default();
                let mut labels = layer.inherited.clone();
                labels.insert(REFERENCE.to_owned(), layer.chain_id.to_string());
                let committed = active.commit(layer.chain_id.as_str(), parent, labels);
                committed.map_err(|error| error.context(format!("commit the snapshot of layer {}", layer.blob.digest)))
            })
            .await?;
        }
        self.tracker.extracted(&layer.blob);
        Ok(())
    }
}

fn apply_layer(stream: impl Read + Send, layer: &Layer, mounts: &[Mount], options: &ApplyOptions) -> Result<()> {
    let applied = apply(stream, &layer.blob.media_type, mounts, options);
    applied.map(drop).map_err(|error| error.context(format!("unpack layer {}", layer.blob.digest)))
}
