//! One extraction of a chain id at a time: whoever comes second finds the snapshot.
//!
//! A layer waits for those below it only, so two images that share layers never wait for each other in a circle.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use tokio::sync::OwnedMutexGuard;

type Lock = tokio::sync::Mutex<()>;

/// Locks by name. Clones share them.
#[derive(Clone, Debug, Default)]
pub(super) struct Chains(Arc<Mutex<HashMap<String, Weak<Lock>>>>);

impl Chains {
    /// Waits until `name` is ours.
    pub(super) async fn lock(&self, name: String) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            locks.get(&name).and_then(Weak::upgrade).unwrap_or_else(|| {
                let lock = Arc::new(Lock::default());
                locks.insert(name, Arc::downgrade(&lock));
                lock
            })
        };
        lock.lock_owned().await
    }
}
