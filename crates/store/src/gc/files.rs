//! Removing the files of what has no record: after the records, outside any transaction, within a deadline.

use super::{Dirty, GcStats};
use crate::{
    db::{Key, Kind, Read, Record},
    ingests::Ingest,
    namespaces::namespaces,
    store::Core,
};
use model::{Digest, Error, Result};
use std::{
    collections::{BTreeSet, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{Receiver, RecvTimeoutError, channel},
    },
    thread,
    time::{Duration, Instant},
};

/// The name of the content directory beside those of snapshotters, which cannot be empty.
const CONTENT: &str = "";

/// Calls backends. One that does not answer in time is left to itself, and not called again until it has.
#[derive(Debug)]
pub(super) struct Cleaner {
    timeout: Duration,
    busy: Arc<Mutex<BTreeSet<String>>>,
}

impl Cleaner {
    pub(super) fn new(timeout: Duration) -> Self {
        Self { timeout, busy: Arc::default() }
    }

    /// Cleans up all that is dirty, side by side. What failed or took too long stays dirty.
    pub(super) fn clean(&self, core: &Arc<Core>, dirty: &mut Dirty, stats: &mut GcStats) {
        let start = Instant::now();
        let content = std::mem::take(&mut dirty.content).then(|| self.start(CONTENT, core, Core::cleanup_content));
        let mut running = Vec::new();
        for name in std::mem::take(&mut dirty.snapshotters) {
            // One that is no longer configured keeps its files until it is.
            if core.snapshotters.iter().any(|snapshotter| snapshotter.name == name) {
                let wanted = name.clone();
                let outcome = self.start(&name, core, move |core| {
                    let mut all = core.snapshotters.iter();
                    all.find(|snapshotter| snapshotter.name == wanted)
                        .map_or(Ok(()), |one| core.cleanup_snapshotter(one))
                });
                running.push((name, outcome));
            }
        }
        if let Some(outcome) = content {
            match self.finish(outcome, start) {
                Ok(()) => stats.content = Some(start.elapsed()),
                Err(error) => {
                    tracing::warn!(%error, "cannot remove unused content");
                    dirty.content = true;
                }
            }
        }
        for (snapshotter, outcome) in running {
            match self.finish(outcome, start) {
                Ok(()) => {
                    stats.snapshots.insert(snapshotter, start.elapsed());
                }
                Err(error) => {
                    tracing::warn!(%error, snapshotter, "cannot remove unused snapshots");
                    dirty.snapshotters.insert(snapshotter);
                }
            }
        }
    }

    /// Runs `work` on a thread of its own, unless the last one on this backend is still running.
    fn start<F>(&self, backend: &str, core: &Arc<Core>, work: F) -> Result<Receiver<Result<()>>>
    where
        F: FnOnce(&Core) -> Result<()> + Send + 'static,
    {
        if !lock(&self.busy).insert(backend.to_owned()) {
            return Err(Error::unavailable("the last call has not returned yet"));
        }
        let (done, outcome) = channel();
        let (core, busy, name) = (Arc::clone(core), Arc::clone(&self.busy), backend.to_owned());
        let spawned = thread::Builder::new().name("gc-files".into()).spawn(move || {
            let result = work(&core);
            // Before the answer, which may close the store.
            drop(core);
            lock(&busy).remove(&name);
            // Too late is not heard.
            let _ = done.send(result);
        });
        match spawned {
            Ok(_) => Ok(outcome),
            Err(error) => {
                lock(&self.busy).remove(backend);
                Err(Error::io("start a thread", error))
            }
        }
    }

    fn finish(&self, outcome: Result<Receiver<Result<()>>>, start: Instant) -> Result<()> {
        match outcome?.recv_timeout(self.timeout.saturating_sub(start.elapsed())) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => {
                Err(Error::deadline_exceeded(format!("no answer within {:?}; it is left running", self.timeout)))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Error::internal("the call panicked")),
        }
    }
}

impl Core {
    /// Removes blobs and ingests without record.
    fn cleanup_content(&self) -> Result<()> {
        // The directory is listed before the database is read: what was made in between is not in the list.
        let mut blobs = Vec::new();
        self.blobs.walk(|digest, _| {
            blobs.push(digest);
            Ok(())
        })?;
        let ingests = self.blobs.statuses()?;
        let db = self.db.read()?;
        let (mut live, mut writing) = (HashSet::new(), HashSet::new());
        db.each(&Key::prefix(Kind::Blob, &[]), |path, _| {
            live.insert(path.last().copied().unwrap_or_default().to_owned());
            Ok(())
        })?;
        db.each(&Key::prefix(Kind::Ingest, &[]), |path, value| {
            let ingest = Ingest::from_bytes(path.last().copied().unwrap_or_default(), value)?;
            live.extend(ingest.expected.map(|digest| digest.to_string()));
            writing.insert(ingest.backend);
            Ok(())
        })?;
        drop(db);
        for digest in blobs.iter().filter(|digest| !live.contains(digest.as_str())) {
            self.remove_blob(digest)?;
        }
        for ingest in ingests.iter().filter(|ingest| !writing.contains(&ingest.reference)) {
            match self.blobs.abort(&ingest.reference) {
                Err(error) if !error.is_not_found() => return Err(error),
                _ => tracing::debug!(reference = ingest.reference, "removed an ingest without record"),
            }
        }
        Ok(())
    }

    /// Removes a blob's file, unless a request is about to record it.
    fn remove_blob(&self, digest: &Digest) -> Result<()> {
        let Some(_claim) = self.digests.claim(digest.as_str()) else { return Ok(()) };
        // Nobody can record it any more; somebody may have.
        let db = self.db.read()?;
        for namespace in namespaces(&db)? {
            if db.contains(&Key::new(Kind::Blob, &[&namespace.name, digest.as_str()]))? {
                return Ok(());
            }
        }
        let mut expected = false;
        db.each(&Key::prefix(Kind::Ingest, &[]), |path, value| {
            let ingest = Ingest::from_bytes(path.last().copied().unwrap_or_default(), value)?;
            expected |= ingest.expected.as_ref() == Some(digest);
            Ok(())
        })?;
        if expected {
            return Ok(());
        }
        match self.blobs.delete(digest) {
            Err(error) if !error.is_not_found() => Err(error),
            _ => {
                tracing::debug!(%digest, "removed content without record");
                Ok(())
            }
        }
    }
}

fn lock(busy: &Mutex<BTreeSet<String>>) -> std::sync::MutexGuard<'_, BTreeSet<String>> {
    busy.lock().unwrap_or_else(PoisonError::into_inner)
}
