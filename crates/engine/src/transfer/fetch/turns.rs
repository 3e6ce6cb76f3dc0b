//! How many blobs are fetched at a time: of one registry, and in all.
//!
//! A registry that crawls holds up its own images and no others; what is fetched from many at a time is bounded all
//! the same.

use model::{Error, Result};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// In all, this many times what one registry may have.
const REGISTRIES: usize = 4;

#[derive(Debug)]
pub(super) struct Turns {
    per_registry: usize,
    all: Arc<Semaphore>,
    registries: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to fetch, until it is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    _registry: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Turns {
    /// 0 is any number.
    pub(super) fn new(per_registry: usize) -> Self {
        let per_registry = if per_registry == 0 { Semaphore::MAX_PERMITS / REGISTRIES } else { per_registry };
        let all = Arc::new(Semaphore::new(per_registry.saturating_mul(REGISTRIES).min(Semaphore::MAX_PERMITS)));
        Self { per_registry, all, registries: Mutex::default() }
    }

    /// Waits for a turn at `registry`.
    pub(super) async fn take(&self, registry: &str) -> Result<Turn> {
        let of_registry = {
            let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
            // Those that nobody uses are as good as new.
            registries.retain(|_, turns| Arc::strong_count(turns) > 1);
            let new = || Arc::new(Semaphore::new(self.per_registry));
            Arc::clone(registries.entry(registry.to_owned()).or_insert_with(new))
        };
        let stopped = |_| Error::cancelled("fetching was stopped");
        let registry = of_registry.acquire_owned().await.map_err(stopped)?;
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(stopped)?;
        Ok(Turn { _registry: registry, _all: all })
    }
}
