//! Who uses a file and who wants to remove it: the truce between requests and garbage collection.
//!
//! A request pins a name while it makes a record for a file that is there already, or makes the file. The
//! collector claims a name before it looks for records one last time and removes the file. Neither waits
//! long: a pinned name is left for the next collection, and a claim lasts as long as removing one file.

use std::{
    collections::HashMap,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
};

/// Names in use. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Number of pins; `None` while claimed.
    names: Mutex<HashMap<String, Option<usize>>>,
    released: Condvar,
}

impl Claims {
    /// Keeps `name` from being claimed until the pin is dropped. Waits while it is.
    pub(crate) fn pin(&self, name: &str) -> Pin {
        let mut names = self.0.lock();
        loop {
            match names.get_mut(name) {
                Some(Some(pins)) => *pins += 1,
                Some(None) => {
                    names = self.0.released.wait(names).unwrap_or_else(PoisonError::into_inner);
                    continue;
                }
                None => {
                    names.insert(name.to_owned(), Some(1));
                }
            }
            return Pin { claims: self.clone(), name: name.to_owned() };
        }
    }

    /// Claims `name`, unless it is pinned or claimed.
    pub(crate) fn claim(&self, name: &str) -> Option<Claim> {
        let mut names = self.0.lock();
        if names.contains_key(name) {
            return None;
        }
        names.insert(name.to_owned(), None);
        Some(Claim { claims: self.clone(), name: name.to_owned() })
    }

    /// Claims all of `names`, one after the other in their order, waiting for each.
    pub(crate) fn lock_all(&self, names: &[&str]) -> Vec<Claim> {
        let mut sorted = names.to_vec();
        // One order for all keeps two requests from waiting for each other.
        sorted.sort_unstable();
        sorted.dedup();
        sorted.into_iter().map(|name| self.lock(name)).collect()
    }

    fn lock(&self, name: &str) -> Claim {
        let mut names = self.0.lock();
        while names.contains_key(name) {
            names = self.0.released.wait(names).unwrap_or_else(PoisonError::into_inner);
        }
        names.insert(name.to_owned(), None);
        Claim { claims: self.clone(), name: name.to_owned() }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Option<usize>>> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A name that must not be claimed.
#[derive(Debug)]
pub(crate) struct Pin {
    claims: Claims,
    name: String,
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut names = self.claims.0.lock();
        if let Some(Some(pins)) = names.get_mut(&self.name) {
            *pins -= 1;
            if *pins == 0 {
                names.remove(&self.name);
                self.claims.0.released.notify_all();
            }
        }
    }
}

/// A name that nobody else has.
#[derive(Debug)]
pub(crate) struct Claim {
    claims: Claims,
    name: String,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.claims.0.lock().remove(&self.name);
        self.claims.0.released.notify_all();
    }
}
