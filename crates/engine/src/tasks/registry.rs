//! Which tasks there are, and who may touch them.
//!
//! ```text
//!            reserve            fulfil              begin_ending           (drop)
//!   nothing ────────▶ Starting ────────▶ Live ─────────────────▶ Ending ────────▶ nothing
//!           ────────▶ Adopting ────────▶
//!             adopt
//! ```
//!
//! Whoever moves a slot out of a state is the only one to do so: a create, an adoption, or the one
//! of delete and crash that came first. A request for a task being adopted waits for that task
//! alone; a create waits for an earlier task of that name to be gone.

use super::Task;
use model::{Error, Result};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::watch;

/// A task's name: namespace and id.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Key {
    pub(crate) namespace: String,
    pub(crate) id: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Work {
    Starting,
    Adopting,
    Ending,
}

#[derive(Debug)]
enum Slot {
    Live(Arc<Task>),
    /// The receiver's sender is dropped when the slot leaves this state.
    Busy(Work, watch::Receiver<()>),
}

/// Every task of every namespace.
#[derive(Debug, Default)]
pub(crate) struct Registry {
    slots: Mutex<HashMap<Key, Slot>>,
}

/// A slot that its holder alone works on. Dropped, the slot is empty.
#[derive(Debug)]
pub(crate) struct Reservation {
    registry: Arc<Registry>,
    key: Key,
    /// Told nothing; its end wakes who waits.
    _done: watch::Sender<()>,
    fulfilled: bool,
}

impl Registry {
    /// The task `key`, after its adoption if that is under way.
    ///
    /// # Errors
    /// `NotFound`.
    pub(crate) async fn get(&self, key: &Key) -> Result<Arc<Task>> {
        loop {
            let mut done = match self.lock().get(key) {
                Some(Slot::Live(task)) => return Ok(Arc::clone(task)),
                Some(Slot::Busy(Work::Adopting, done)) => done.clone(),
                _ => return Err(Error::not_found(format!("task {} not found", key.id))),
            };
            wait(&mut done).await;
        }
    }

    /// The tasks of `namespace` (`None`: of all), after the adoptions under way, in no order.
    pub(crate) async fn list(&self, namespace: Option<&str>) -> Vec<Arc<Task>> {
        let adopting: Vec<_> = {
            let slots = self.lock();
            let wanted = slots.iter().filter(|(key, _)| namespace.is_none_or(|name| key.namespace == name));
            let pending = wanted.filter_map(|(_, slot)| match slot {
                Slot::Busy(Work::Adopting, done) => Some(done.clone()),
                _ => None,
            });
            pending.collect()
        };
        for mut done in adopting {
            wait(&mut done).await;
        }
        let slots = self.lock();
        let wanted = slots.iter().filter(|(key, _)| namespace.is_none_or(|name| key.namespace == name));
        let live = wanted.filter_map(|(_, slot)| match slot {
            Slot::Live(task) => Some(Arc::clone(task)),
            Slot::Busy(..) => None,
        });
        live.collect()
    }

    /// Takes the free slot `key` for a new task.
    ///
    /// # Errors
    /// `AlreadyExists` if there is a task, or one being created.
    pub(crate) async fn reserve(self: &Arc<Self>, key: Key) -> Result<Reservation> {
        loop {
            let mut done = {
                let mut slots = self.lock();
                match slots.get(&key) {
                    None => return Ok(self.occupy(&mut slots, key, Work::Starting)),
                    Some(Slot::Live(_) | Slot::Busy(Work::Starting, _)) => {
                        return Err(Error::already_exists(format!("task {}", key.id)));
                    }
                    Some(Slot::Busy(_, done)) => done.clone(),
                }
            };
            wait(&mut done).await;
        }
    }

    /// Takes the slot `key` for a bundle found at start, before any request is served.
    pub(crate) fn adopt(self: &Arc<Self>, key: Key) -> Reservation {
        self.occupy(&mut self.lock(), key, Work::Adopting)
    }

    /// Takes the slot of the live `task` to end it; `None` if another does so already.
    pub(crate) fn begin_ending(self: &Arc<Self>, task: &Arc<Task>) -> Option<Reservation> {
        let (mut slots, key) = (self.lock(), task.key());
        match slots.get(&key) {
            Some(Slot::Live(live)) if Arc::ptr_eq(live, task) => Some(self.occupy(&mut slots, key, Work::Ending)),
            _ => None,
        }
    }

    fn occupy(self: &Arc<Self>, slots: &mut HashMap<Key, Slot>, key: Key, work: Work) -> Reservation {
        let (done, waiting) = watch::channel(());
        slots.insert(key.clone(), Slot::Busy(work, waiting));
        Reservation { registry: Arc::clone(self), key, _done: done, fulfilled: false }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Slot>> {
        // The map is whole between statements, so a panicked holder left nothing half-done.
        self.slots.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reservation {
    /// Puts `task` in the slot, where everyone sees it.
    pub(crate) fn fulfil(mut self, task: Arc<Task>) {
        self.fulfilled = true;
        self.registry.lock().insert(self.key.clone(), Slot::Live(task));
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        if !self.fulfilled {
            self.registry.lock().remove(&self.key);
        }
    }
}

async fn wait(done: &mut watch::Receiver<()>) {
    // Nothing is ever sent: this ends, with an error, when the sender is dropped.
    let _dropped = done.changed().await;
}
