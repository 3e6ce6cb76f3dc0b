//! One extraction of a chain id at a time: whoever comes second finds the snapshot.
//!
//! A layer waits for those below it only, so two images that share layers never wait for each other in a circle.

use model::Digest;
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::{OwnedMutexGuard, watch};

type Lock = tokio::sync::Mutex<()>;

/// Chains by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains(Arc<Mutex<HashMap<String, Known>>>);

/// One that somebody waits for or has.
#[derive(Debug)]
struct Known {
    lock: Weak<Lock>,
    work: watch::Sender<Work>,
}

/// A chain id, and what whoever has it does.
#[derive(Clone, Debug)]
pub(super) struct Chain {
    lock: Arc<Lock>,
    work: watch::Sender<Work>,
}

/// What is unpacked, for those who wait.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Work {
    /// The blob, once it turns out to be needed.
    pub(super) blob: Option<Digest>,
    /// How many of its bytes are unpacked.
    pub(super) unpacked: u64,
}

impl Chains {
    /// The chain `name`.
    pub(super) fn of(&self, name: String) -> Chain {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|_, chain| chain.lock.strong_count() > 0);
        let there = known.get(&name).and_then(|chain| Some((chain.lock.upgrade()?, chain.work.clone())));
        let (lock, work) = there.unwrap_or_else(|| {
            let (lock, work) = (Arc::new(Lock::default()), watch::Sender::default());
            known.insert(name, Known { lock: Arc::downgrade(&lock), work: work.clone() });
            (lock, work)
        });
        Chain { lock, work }
    }
}

impl Chain {
    /// Waits until it is ours.
    pub(super) async fn lock(&self) -> OwnedMutexGuard<()> {
        let guard = Arc::clone(&self.lock).lock_owned().await;
        self.work.send_replace(Work::default());
        guard
    }

    /// Says that we, who have it, unpack `unpacked` bytes of `blob` so far.
    pub(super) fn tell(&self, blob: &Digest, unpacked: u64) {
        self.work.send_replace(Work { blob: Some(blob.clone()), unpacked });
    }

    /// Hears what is said.
    pub(super) fn hear(&self) -> watch::Receiver<Work> {
        self.work.subscribe()
    }
}
