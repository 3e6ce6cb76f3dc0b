//! A store with transfers.

use client::oci::Platform;
use distribution::Anonymous;
use engine::transfer::{
    Destination, HttpDebug, ImageStore, ProgressSink, Registry, Source, TransferConfig, Transfers, Unpack, UnpackTarget,
};
use model::{
    Digest, Error, Filter, Labels, Mount, Namespace, Result, Scope, SnapshotInfo, SnapshotKind, Timestamp, Usage,
};
use std::{
    fs,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};
use store::{
    NoEvents, Sharing, Store, StoreConfig,
    snapshot::{Capability, Commit, Driver, Live, Native, Overlay, Snapshot, overlay},
};
use tempfile::TempDir;

/// A pull under way.
pub type Pulling = tokio::task::JoinHandle<Result<()>>;

pub struct Bed {
    pub root: TempDir,
    pub store: Store,
    pub transfers: Transfers,
    pub scope: Scope,
}

impl Bed {
    pub fn new() -> Self {
        Self::with(TransferConfig::default())
    }

    pub fn with(config: TransferConfig) -> Self {
        Self::in_folder(tempfile::tempdir().unwrap(), config)
    }

    /// One with a further snapshotter.
    pub fn with_snapshotter(name: &str, driver: Arc<dyn Driver>) -> Self {
        let more = vec![(name.to_owned(), driver)];
        Self::made(tempfile::tempdir().unwrap(), TransferConfig::default(), Sharing::default(), more)
    }

    /// One whose namespaces share content so.
    pub fn sharing(sharing: Sharing) -> Self {
        Self::made(tempfile::tempdir().unwrap(), TransferConfig::default(), sharing, Vec::new())
    }

    pub fn in_folder(root: TempDir, config: TransferConfig) -> Self {
        Self::made(root, config, Sharing::default(), Vec::new())
    }

    fn made(root: TempDir, config: TransferConfig, sharing: Sharing, more: Vec<(String, Arc<dyn Driver>)>) -> Self {
        let target = |snapshotter: &str| UnpackTarget { platform: host(), snapshotter: snapshotter.to_owned() };
        let names = ["overlayfs", "native"].into_iter().chain(more.iter().map(|(name, _)| name.as_str()));
        let config = TransferConfig { unpack: names.map(target).collect(), ..config };
        let store = open(&root, sharing, more);
        let transfers = Transfers::new(store.clone(), config);
        Self { root, store, transfers, scope: Scope::new(Namespace::new("default").unwrap()) }
    }

    /// The same store, opened by another daemon.
    pub fn reopened(self) -> Self {
        let Self { root, store, transfers, .. } = self;
        drop((transfers, store));
        let again = || {
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| open(&root, Sharing::default(), Vec::new())))
                .is_ok()
        };
        assert!(eventually(again), "the store stays open");
        Self::in_folder(root, TransferConfig::default())
    }

    /// Pulls `reference` under its own name, and unpacks it into `snapshotter` unless that is empty.
    pub async fn pull(&self, reference: &str, snapshotter: &str) -> Result<()> {
        self.transfer(Source::Registry(registry(reference)), Destination::Store(image_store(reference, snapshotter)))
            .await
    }

    /// Begins to pull `reference` into `scope`; what it tells meanwhile.
    pub fn begin(self: &Arc<Self>, scope: &Scope, reference: &str, snapshotter: &str) -> (Pulling, ProgressSink) {
        let (from, to) = (registry(reference), image_store(reference, snapshotter));
        let (bed, scope, progress) = (Arc::clone(self), scope.clone(), ProgressSink::new());
        let told = progress.clone();
        let pull = async move {
            bed.transfers.transfer(&scope, Source::Registry(from), Destination::Store(to), &progress).await
        };
        (tokio::spawn(pull), told)
    }

    pub async fn push(&self, name: &str, reference: &str) -> Result<()> {
        let from = ImageStore { name: name.to_owned(), ..ImageStore::default() };
        self.transfer(Source::Store(from), Destination::Registry(registry(reference))).await
    }

    pub async fn transfer(&self, from: Source, to: Destination) -> Result<()> {
        self.transfers.transfer(&self.scope, from, to, &ProgressSink::default()).await
    }

    pub fn labels(&self, digest: &Digest) -> Labels {
        self.store.blob_info(&self.scope, digest).unwrap().labels
    }

    /// Keys of all snapshots.
    pub fn snapshots(&self, snapshotter: &str) -> Vec<String> {
        let all = Filter::parse::<&str>(&[]).unwrap();
        let found = self.store.list_snapshots(&self.scope, snapshotter, &all).unwrap();
        found.into_iter().map(|info| info.name).collect()
    }

    /// References of all ingests.
    pub fn ingests(&self) -> Vec<String> {
        let all = Filter::parse::<&str>(&[]).unwrap();
        let found = self.store.list_ingests(&self.scope, &all).unwrap();
        found.into_iter().map(|status| status.reference).collect()
    }

    /// The content of `path` in the snapshot `name`, as its own layer has it.
    pub fn file(&self, snapshotter: &str, name: &Digest, path: &str) -> Option<Vec<u8>> {
        let key = format!("view-{name}");
        let root = Labels::from([("containerd.io/gc.root".to_owned(), "now".to_owned())]);
        let mounts = self.store.view_snapshot(&self.scope, snapshotter, &key, name.as_str(), root).unwrap();
        let mounted = sys::mount::TempMount::new(&mounts).unwrap();
        let content = fs::read(mounted.path().join(path)).ok();
        drop(mounted);
        self.store.remove_snapshot(&self.scope, snapshotter, &key).unwrap();
        content
    }
}

pub fn open(root: &TempDir, sharing: Sharing, more: Vec<(String, Arc<dyn Driver>)>) -> Store {
    let folder = |name: &str| -> PathBuf { root.path().join(name) };
    // Nothing is collected unless a test asks for it.
    let mut config = StoreConfig { sharing, gc: None, ..StoreConfig::new(root.path()) };
    let native = Native::open(&folder("native")).unwrap();
    let overlay = Overlay::open(&folder("overlayfs"), overlay::Config::default()).unwrap();
    config.snapshotters = vec![("native".to_owned(), Arc::new(native)), ("overlayfs".to_owned(), Arc::new(overlay))];
    config.snapshotters.extend(more);
    Store::open(config, Arc::new(NoEvents)).unwrap()
}

pub fn host() -> Platform {
    Platform::parse("linux/amd64").unwrap()
}

pub fn registry(reference: &str) -> Registry {
    Registry {
        reference: reference.to_owned(),
        headers: Vec::new(),
        hosts_dir: None,
        default_scheme: None,
        http_debug: HttpDebug::default(),
        log: None,
        credentials: Arc::new(Anonymous),
    }
}

pub fn image_store(name: &str, snapshotter: &str) -> ImageStore {
    let unpack = || Unpack { platform: host(), snapshotter: snapshotter.to_owned() };
    ImageStore {
        name: name.to_owned(),
        platforms: vec![host()],
        unpacks: (!snapshotter.is_empty()).then(unpack).into_iter().collect(),
        ..ImageStore::default()
    }
}

/// Whether `condition` comes true while a patient tester waits. In an async test this needs a second thread.
pub fn eventually(condition: impl Fn() -> bool) -> bool {
    let start = Instant::now();
    while start.elapsed() < tests::PATIENCE {
        if condition() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    false
}

/// A snapshotter that has every layer already.
#[derive(Debug, Default)]
pub struct Offering {
    /// Labels of what it was asked to prepare.
    pub asked: Mutex<Vec<Labels>>,
}

impl Driver for Offering {
    fn capabilities(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn exports(&self) -> Labels {
        [("enable_remote_snapshot_annotations".to_owned(), "true".to_owned())].into()
    }

    fn prepare(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        self.asked.lock().unwrap().push(snapshot.labels.clone());
        Err(Error::already_exists(snapshot.key))
    }

    fn find(&self, reference: &str, parent: &str) -> Result<Option<SnapshotInfo>> {
        let now = Timestamp::now();
        Ok(Some(SnapshotInfo {
            kind: SnapshotKind::Committed,
            name: format!("offered/1/{reference}"),
            parent: parent.to_owned(),
            labels: Labels::new(),
            created_at: now,
            updated_at: now,
        }))
    }

    fn mounts(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        Err(Error::not_found(snapshot.key))
    }

    fn commit(&self, snapshot: &Snapshot<'_>, _: &Commit<'_>) -> Result<()> {
        Err(Error::not_found(snapshot.key))
    }

    fn usage(&self, _: &Snapshot<'_>) -> Result<Usage> {
        Ok(Usage::default())
    }

    fn remove(&self, _: &Snapshot<'_>) -> Result<()> {
        Ok(())
    }

    fn cleanup(&self, _: &dyn Fn() -> Result<Live>) -> Result<()> {
        Ok(())
    }
}
