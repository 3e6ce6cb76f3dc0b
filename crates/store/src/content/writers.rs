//! Who writes which ingest: one writer each, and what is known of ingests that are in memory only.

use super::lock;
use model::{Error, IngestStatus, Result, Timestamp};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
};

/// The writers by the reference of their ingest.
#[derive(Debug, Default)]
pub(super) struct Writers(Mutex<HashMap<String, Writer>>);

#[derive(Debug)]
struct Writer {
    since: Timestamp,
    /// How far the ingest is, as long as it has no directory that would tell.
    staged: Option<IngestStatus>,
    /// Somebody gave the ingest up meanwhile.
    aborted: bool,
}

impl Writers {
    /// The ingest `reference`, if it is in memory.
    pub(super) fn staged(&self, reference: &str) -> Option<IngestStatus> {
        lock(&self.0).get(reference).and_then(|writer| writer.staged.clone())
    }

    /// All ingests in memory.
    pub(super) fn all_staged(&self) -> Vec<IngestStatus> {
        lock(&self.0).values().filter_map(|writer| writer.staged.clone()).collect()
    }

    /// Keeps the writer of `reference`, if there is one, from going on. Says whether its ingest was in memory.
    pub(super) fn abort(&self, reference: &str) -> bool {
        lock(&self.0).get_mut(reference).is_some_and(|writer| {
            writer.aborted = true;
            writer.staged.take().is_some()
        })
    }
}

/// The right to write an ingest, until it is dropped.
#[derive(Debug)]
pub(crate) struct RefLock {
    writers: Arc<Writers>,
    reference: String,
}

impl RefLock {
    /// # Errors
    /// `Unavailable` if somebody has it.
    pub(super) fn acquire(writers: &Arc<Writers>, reference: &str) -> Result<Self> {
        let mut table = lock(&writers.0);
        if let Some(writer) = table.get(reference) {
            return Err(Error::unavailable(format!("ref {reference} locked since {}", writer.since.to_rfc3339())));
        }
        table.insert(reference.to_owned(), Writer { since: Timestamp::now(), staged: None, aborted: false });
        Ok(Self { writers: Arc::clone(writers), reference: reference.to_owned() })
    }

    /// Shows how far the ingest is, or that its directory tells.
    pub(super) fn show(&self, staged: Option<IngestStatus>) {
        if let Some(writer) = lock(&self.writers.0).get_mut(&self.reference)
            && !writer.aborted
        {
            writer.staged = staged;
        }
    }

    pub(super) fn is_aborted(&self) -> bool {
        lock(&self.writers.0).get(&self.reference).is_some_and(|writer| writer.aborted)
    }

    /// # Errors
    /// `NotFound` if the ingest was aborted.
    pub(super) fn check(&self) -> Result<()> {
        if self.is_aborted() {
            return Err(Error::not_found(format!("ingest ref {:?} was aborted", self.reference)));
        }
        Ok(())
    }
}

impl Drop for RefLock {
    fn drop(&mut self) {
        lock(&self.writers.0).remove(&self.reference);
    }
}
