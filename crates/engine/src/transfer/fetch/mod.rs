//! Blobs from registries into the store: each once, however many transfers want it.
//!
//! ```text
//!   pull ──► Ticket ─┐             ┌─ a task asks for the bytes ─┐ a few chunks
//!                    ├─► Flight ───┤                             ▼
//!   pull ──► Ticket ─┘             └─ a thread hashes and writes the ingest's file ─► Stage
//!                                                                    ▲
//!                             whoever unpacks follows that file ─────┘
//! ```
//! The file of the ingest is the only buffer between the network and those who unpack: it bounds memory whatever the
//! blob's size, lets any number follow at their own pace, and is what a killed daemon resumes from.

mod flight;
mod follow;
mod network;
mod source;
mod turns;
mod write;

pub(crate) use flight::{Fetched, Ticket};
pub(crate) use follow::{Follower, Stop, Stopper};
pub(crate) use source::SourceLabel;

/// How a blob that is being written grows.
pub(crate) type Growth = watch::Receiver<Stage>;

use client::oci::Descriptor;
use distribution::Repository;
use flight::Flight;
use model::{Digest, Error, Result, Scope};
use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use store::Store;
use tokio::sync::watch;
use turns::Turns;

/// A blob that a transfer wants.
#[derive(Clone, Debug)]
pub(crate) struct Want {
    /// Where it is.
    pub(crate) repository: Arc<Repository>,
    /// For whom it is stored.
    pub(crate) scope: Scope,
    /// The blob.
    pub(crate) blob: Descriptor,
    /// What it is labelled with.
    pub(crate) source: SourceLabel,
}

/// How far a blob is.
#[derive(Clone, Debug)]
pub(crate) enum Stage {
    /// It waits for its turn, or for an answer.
    Waiting,
    /// So many bytes are in the file, once there is one.
    Growing(Option<Arc<File>>, u64),
    /// It is in the store of the flight's namespace.
    Done(Fetched),
    /// It will not come.
    Failed(Arc<Error>),
}

/// All blobs on their way. Clones share them.
#[derive(Clone, Debug)]
pub(crate) struct Fetches(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    store: Store,
    flights: Mutex<HashMap<Digest, Weak<Flight>>>,
    turns: Turns,
}

impl Fetches {
    /// `downloads` blobs of one registry are fetched at a time, 0 being any number.
    pub(crate) fn new(store: Store, downloads: usize) -> Self {
        Self(Arc::new(Shared { store, flights: Mutex::default(), turns: Turns::new(downloads) }))
    }

    /// A place on the flight that brings `want`, which begins if there is none. Must be called in a runtime.
    pub(crate) fn join(&self, want: Want) -> Ticket {
        let mut flights = self.0.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let under_way = flights.get(&want.blob.digest).and_then(Weak::upgrade);
        if let Some(flight) = under_way.filter(|flight| flight.takes(&want)) {
            return Ticket::new(self.0.store.clone(), flight, want, true);
        }
        let flight = Flight::begin(Arc::clone(&self.0), want.clone());
        flights.insert(want.blob.digest.clone(), Arc::downgrade(&flight));
        Ticket::new(self.0.store.clone(), flight, want, false)
    }

    /// Brings `want` into the store.
    ///
    /// # Errors
    /// The registry's and the store's, naming the blob.
    pub(crate) async fn fetch(&self, want: &Want, on_bytes: impl Fn(u64)) -> Result<Fetched> {
        loop {
            let mut ticket = self.join(want.clone());
            match ticket.done(&on_bytes).await {
                Err(_) if ticket.shares() => {} // somebody else's failure; ours may go better
                done => return done,
            }
        }
    }
}
