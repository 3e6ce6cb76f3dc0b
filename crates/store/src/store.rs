//! The store itself: what it is opened with and what it is made of.

use crate::{EventSink, GcConfig, snapshot::Driver};
use model::{Error, Result};
use std::{path::PathBuf, sync::Arc};

/// Whether a namespace may use a blob that only another one has proved to hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sharing {
    /// Knowing the digest is enough.
    #[default]
    Shared,
    /// The whole blob must be written again, unless a namespace that holds it is labelled
    /// `containerd.io/namespace.shareable=true`.
    Isolated,
}

/// What a store is opened with.
#[derive(Debug)]
pub struct StoreConfig {
    /// containerd's root directory, `/var/lib/containerd`.
    pub root: PathBuf,
    /// Sharing of content between namespaces.
    pub sharing: Sharing,
    /// Never wait for the disk: faster, and a power cut may lose acknowledged writes or the database.
    pub no_sync: bool,
    /// The snapshotters by name; the order is that of introspection.
    pub snapshotters: Vec<(String, Arc<dyn Driver>)>,
    /// When garbage is collected; `None`: only by [`Store::collect_garbage`].
    pub gc: Option<GcConfig>,
}

impl StoreConfig {
    /// containerd's defaults, without snapshotters.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            sharing: Sharing::default(),
            no_sync: false,
            snapshotters: Vec::new(),
            gc: Some(GcConfig::default()),
        }
    }
}

/// Everything below `root`: records, blobs, snapshots. Cheap to clone; the last clone dropped closes it.
#[derive(Clone, Debug)]
pub struct Store {}

impl Store {
    /// Opens or creates the store at `config.root`.
    ///
    /// # Errors
    /// `FailedPrecondition` if another process has it open or a newer version wrote it; `DataLoss` if it is
    /// damaged beyond repair.
    pub fn open(config: StoreConfig, events: Arc<dyn EventSink>) -> Result<Self> {
        let _ = (config, events);
        Err(Error::unimplemented("pending"))
    }
}
