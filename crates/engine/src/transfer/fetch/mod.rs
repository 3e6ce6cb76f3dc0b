//! Blobs from registries into the store: each once, however many transfers want it.
//!
//! ```text
//!   pull ──► Ticket ─┐             ┌─ a task asks for the bytes ─┐ a few chunks
//!                    ├─► Flight ───┤                             ▼
//!   pull ──► Ticket ─┘             └─ another has them hashed and written to the ingest's file ─► Stage
//!                                                                                  ▲
//!                                           whoever unpacks follows that file ─────┘
//! ```
//! A flight is of one namespace, as leases, ingests and blobs are. One of another namespace for the same blob from the
//! same registry waits for it, and then needs to fetch only what it may not share.
//!
//! The file of the ingest is the only buffer between the network and those who unpack: it bounds memory whatever the
//! blob's size, lets any number follow at their own pace, and is what a killed daemon resumes from.

mod flight;
mod follow;
mod network;
mod ranges;
mod source;
mod turns;
mod write;

pub(crate) use flight::{Fetched, Ticket};
pub(crate) use follow::{Bytes, Follower, Permit, Stop, Stopper};
pub(crate) use source::SourceLabel;
pub(crate) use turns::Turns;

/// How a blob that is being written grows.
type Growth = watch::Receiver<Stage>;

use client::oci::Descriptor;
use distribution::Repository;
use flight::Flight;
use model::{Digest, Error, Namespace, Result, Scope};
use ranges::Parts;
use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Mutex, PoisonError, Weak},
};
use store::{Sharing, Store};
use tokio::sync::watch;

/// Attempts at a blob that somebody else failed to bring, or whose earlier bytes were wrong.
pub(crate) const ATTEMPTS: usize = 3;

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
    /// So many bytes are there, in the file once there is one.
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
    flights: Mutex<HashMap<(Namespace, Digest), Weak<Flight>>>,
    turns: Turns,
    parts: Parts,
}

impl Fetches {
    /// `downloads` blobs of one registry are fetched at a time, 0 being any number; a large one in ranges of `part`
    /// bytes, 0 being our choice.
    pub(crate) fn new(store: Store, downloads: usize, part: usize) -> Self {
        let (turns, parts) = (Turns::new(downloads), Parts::new(part));
        Self(Arc::new(Shared { store, flights: Mutex::default(), turns, parts }))
    }

    /// A place on the flight that brings `want`, which begins if there is none. Must be called in a runtime.
    pub(crate) fn join(&self, want: Want) -> Ticket {
        let mut flights = self.0.flights.lock().unwrap_or_else(PoisonError::into_inner);
        flights.retain(|_, flight| flight.strong_count() > 0);
        let key = (want.scope.namespace.clone(), want.blob.digest.clone());
        let ours = flights.get(&key).and_then(Weak::upgrade);
        if let Some(flight) = ours.filter(|flight| flight.takes()) {
            return Ticket::new(self.0.store.clone(), flight, want, true);
        }
        // One begun before ours, so that no two wait for each other.
        let elsewhere = flights
            .iter()
            .filter(|((namespace, digest), _)| *namespace != key.0 && *digest == key.1)
            .filter_map(|(_, flight)| flight.upgrade())
            .find(|flight| flight.comes_from(want.repository.registry()))
            .filter(|_| self.0.store.sharing() == Sharing::Shared);
        let flight = Flight::begin(Arc::clone(&self.0), want.clone(), elsewhere);
        flights.insert(key, Arc::downgrade(&flight));
        Ticket::new(self.0.store.clone(), flight, want, false)
    }

    /// Brings `want` into the store. `on_board` is called once it is on its way, `on_bytes` as it comes.
    ///
    /// # Errors
    /// The registry's and the store's, naming the blob.
    pub(crate) async fn fetch(&self, want: &Want, on_board: impl Fn(), on_bytes: impl Fn(u64)) -> Result<Fetched> {
        let mut attempt = 1;
        loop {
            let mut ticket = self.join(want.clone());
            on_board();
            match ticket.done(&on_bytes).await {
                Err(error) if attempt < ATTEMPTS && ticket.may_go_better(&error) => attempt += 1,
                done => return done,
            }
        }
    }
}
