//! The store itself: what it is opened with and what it is made of.

use crate::{
    EventSink, GcConfig,
    claims::Claims,
    content::Blobs,
    db::Db,
    gc::{Scheduler, Signal},
    snapshot::Driver,
    snapshots::Snapshotter,
};
use model::{Error, Result};
use std::{fs, path::PathBuf, sync::Arc};

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
    /// Never wait for the disk when metadata is committed: faster, and a power cut may lose acknowledged
    /// writes or the database.
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
///
/// ```text
/// <root>/metadata.redb                       every record
/// <root>/io.containerd.content.v1.content/   blobs and ingests, laid out as containerd does
/// ```
///
/// Snapshotters have directories of their own. containerd's `io.containerd.metadata.v1.bolt/` is left alone.
#[derive(Clone, Debug)]
pub struct Store {
    pub(crate) core: Arc<Core>,
    pub(crate) scheduler: Arc<Scheduler>,
}

/// What requests and the garbage collector share.
#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) db: Db,
    pub(crate) blobs: Blobs,
    /// Blobs in use by requests, by digest, so that collection leaves their files alone.
    pub(crate) digests: Claims,
    pub(crate) snapshotters: Vec<Snapshotter>,
    pub(crate) sharing: Sharing,
}

impl Store {
    /// Opens or creates the store at `config.root`.
    ///
    /// # Errors
    /// `FailedPrecondition` if another process has it open or a newer version wrote it; `DataLoss` if it is
    /// damaged beyond repair.
    pub fn open(config: StoreConfig, events: Arc<dyn EventSink>) -> Result<Self> {
        let root = &config.root;
        fs::create_dir_all(root).map_err(|error| Error::io(format!("create root {}", root.display()), error))?;
        let signal = Arc::new(Signal::default());
        let observer = {
            let signal = Arc::clone(&signal);
            Box::new(move |effects: &_| signal.committed(effects))
        };
        let core = Arc::new(Core {
            db: Db::open(&root.join("metadata.redb"), config.no_sync, events, observer)?,
            blobs: Blobs::open(root.join("io.containerd.content.v1.content"))?,
            digests: Claims::default(),
            snapshotters: config
                .snapshotters
                .into_iter()
                .map(|(name, driver)| Snapshotter::new(name, driver))
                .collect(),
            sharing: config.sharing,
        });
        let scheduler = Arc::new(Scheduler::spawn(Arc::clone(&core), signal, config.gc)?);
        Ok(Self { core, scheduler })
    }

    /// What namespaces share.
    pub fn sharing(&self) -> Sharing {
        self.core.sharing
    }
}
