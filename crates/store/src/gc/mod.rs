//! Garbage collection: what nothing refers to is removed.
//!
//! ```text
//! barrier up ─ snapshot of the database ─ mark (no lock, requests go on) ─ sweep records ─ files
//! ```
//!
//! Marking reads one snapshot of the database while requests go on writing. From before the snapshot on, the
//! committing thread notes every key written (the barrier). The sweep runs on that same thread, as a few
//! short transactions: each first marks what was written meanwhile and what that refers to, then deletes some
//! of what is still unmarked. So nothing that a request has made or referred to since is deleted, and what
//! it made can be kept for one round too long, which does no harm. Referrers are deleted before what they
//! refer to, so that whatever a request finds still there is complete.
//!
//! Files go last, outside any transaction: those without a record, among them what an earlier crash left.
//! See `claims` and `snapshots` for how requests keep theirs meanwhile.

mod files;
mod labels;
mod mark;
mod schedule;
mod sweep;

pub(crate) use labels::EXPIRE;
pub(crate) use schedule::{Scheduler, Signal};

use crate::{Store, store::Core};
use mark::Marking;
use model::Result;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant},
};

/// When garbage is collected without being asked (containerd's `io.containerd.gc.v1.scheduler`).
#[derive(Clone, Debug, PartialEq)]
pub struct GcConfig {
    /// Most of real time spent collecting, 0 to 0.5.
    pub pause_threshold: f64,
    /// Deletions after which a collection is scheduled at once; 0: deletions wait for the next interval.
    pub deletion_threshold: u32,
    /// Mutations after which the next interval collects; 0: never for mutations.
    pub mutation_threshold: u32,
    /// How long to wait after a trigger.
    pub schedule_delay: Duration,
    /// When the first collection runs after start; zero: only when triggered.
    pub startup_delay: Duration,
    /// How long one call of a backend may take before the collection goes on without it.
    pub backend_timeout: Duration,
}

impl Default for GcConfig {
    fn default() -> Self {
        Self {
            pause_threshold: 0.02,
            deletion_threshold: 0,
            mutation_threshold: 100,
            schedule_delay: Duration::ZERO,
            startup_delay: Duration::from_millis(100),
            backend_timeout: Duration::from_secs(120),
        }
    }
}

/// How long a collection took and what it removed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GcStats {
    /// Marking and removing records.
    pub metadata: Duration,
    /// Removing blobs and ingests from disk, if any record of one went.
    pub content: Option<Duration>,
    /// Removing snapshots, by snapshotter.
    pub snapshots: BTreeMap<String, Duration>,
    /// Records removed.
    pub removed: usize,
}

impl Store {
    /// Collects garbage now and waits until it is gone from disk too: a `sync=true` delete.
    pub fn collect_garbage(&self) -> Result<GcStats> {
        self.scheduler.collect()
    }
}

/// Whose files may have become garbage.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Dirty {
    pub(crate) content: bool,
    pub(crate) snapshotters: BTreeSet<String>,
}

/// One collection. `dirty` is what was deleted before; what could not be cleaned up is left in it.
fn collect(core: &Arc<Core>, files: &files::Cleaner, dirty: &mut Dirty) -> Result<GcStats> {
    let start = Instant::now();
    let removed = remove_records(core, dirty)?;
    let mut stats = GcStats { metadata: start.elapsed(), removed, ..GcStats::default() };
    files.clean(core, dirty, &mut stats);
    Ok(stats)
}

fn remove_records(core: &Arc<Core>, dirty: &mut Dirty) -> Result<usize> {
    sweep::raise_barrier(&core.db)?;
    let outcome = Marking::of(&core.db.read()?).and_then(|marking| sweep::sweep(&core.db, marking, dirty));
    sweep::lower_barrier(&core.db)?;
    outcome
}

#[cfg(test)]
mod tests;
