//! Garbage collection: what nothing refers to is removed.

use crate::Store;
use model::{Error, Result};
use std::collections::BTreeMap;
use std::time::Duration;

/// When garbage is collected without being asked (containerd's `io.containerd.gc.v1.scheduler`).
#[derive(Clone, Debug, PartialEq)]
pub struct GcConfig {
    /// Most of real time spent collecting, 0 to 0.5.
    pub pause_threshold: f64,
    /// Deletions after which a collection is scheduled; 0: by their mere existence at the next interval.
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
            backend_timeout: Duration::from_secs(60),
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
        Err(Error::unimplemented("pending"))
    }
}
