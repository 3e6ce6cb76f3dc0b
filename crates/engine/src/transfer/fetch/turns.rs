//! How many blobs are fetched, or followed, at a time: of one registry, and in all.
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
pub(crate) struct Turns {
    per_registry: usize,
    all: Arc<Semaphore>,
    registries: Mutex<HashMap<String, Arc<Semaphore>>>,
}

/// The right to fetch or follow, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn {
    _registry: OwnedSemaphorePermit,
    _all: OwnedSemaphorePermit,
}

impl Turns {
    /// 0 is any number.
    pub(crate) fn new(per_registry: usize) -> Self {
        let per_registry = if per_registry == 0 { Semaphore::MAX_PERMITS / REGISTRIES } else { per_registry };
        let all = Arc::new(Semaphore::new(per_registry.saturating_mul(REGISTRIES).min(Semaphore::MAX_PERMITS)));
        Self { per_registry, all, registries: Mutex::default() }
    }

    /// Waits for a turn at `registry`.
    pub(super) async fn take(&self, registry: &str) -> Result<Turn> {
        let stopped = |_| Error::cancelled("fetching was stopped");
        let registry = self.registry(registry).acquire_owned().await.map_err(stopped)?;
        let all = Arc::clone(&self.all).acquire_owned().await.map_err(stopped)?;
        Ok(Turn { _registry: registry, _all: all })
    }

    /// A turn at `registry` that nobody waits for.
    pub(super) fn spare(&self, registry: &str) -> Option<Turn> {
        let registry = self.registry(registry).try_acquire_owned().ok()?;
        let all = Arc::clone(&self.all).try_acquire_owned().ok()?;
        Some(Turn { _registry: registry, _all: all })
    }

    fn registry(&self, registry: &str) -> Arc<Semaphore> {
        let mut registries = self.registries.lock().unwrap_or_else(PoisonError::into_inner);
        // Those that nobody uses are as good as new.
        registries.retain(|_, turns| Arc::strong_count(turns) > 1);
        let new = || Arc::new(Semaphore::new(self.per_registry));
        Arc::clone(registries.entry(registry.to_owned()).or_insert_with(new))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_registry_has_its_turns_and_leaves_others_theirs() {
        let turns = Turns::new(2);
        let first = turns.take("a").await.unwrap();
        let second = turns.spare("a").unwrap();
        assert!(turns.spare("a").is_none());
        let _other = turns.take("b").await.unwrap();
        drop(first);
        let _third = turns.take("a").await.unwrap();
        drop(second);
        let many: Vec<_> = ["c", "d", "e"].iter().flat_map(|name| [turns.spare(name), turns.spare(name)]).collect();
        assert_eq!(many.iter().filter(|turn| turn.is_some()).count(), 6, "eight in all");
        assert!(turns.spare("f").is_none());
        assert!(Turns::new(0).spare("a").is_some());
    }
}
