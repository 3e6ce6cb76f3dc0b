//! A store with transfers.

use client::oci::Platform;
use distribution::Anonymous;
use engine::transfer::{
    Destination, HttpDebug, ImageStore, ProgressSink, Registry, Source, TransferConfig, Transfers, Unpack, UnpackTarget,
};
use model::{Digest, Filter, Labels, Namespace, Result, Scope};
use std::{fs, path::PathBuf, sync::Arc};
use store::{
    NoEvents, Store, StoreConfig,
    snapshot::{Driver, Native, Overlay, overlay},
};
use tempfile::TempDir;

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

    pub fn in_folder(root: TempDir, config: TransferConfig) -> Self {
        let store = open(&root, Vec::new());
        let target = |snapshotter: &str| UnpackTarget { platform: host(), snapshotter: snapshotter.to_owned() };
        let config = TransferConfig { unpack: vec![target("overlayfs"), target("native")], ..config };
        let transfers = Transfers::new(store.clone(), config);
        Self { root, store, transfers, scope: Scope::new(Namespace::new("default").unwrap()) }
    }

    /// Pulls `reference` under its own name, and unpacks it into `snapshotter` unless that is empty.
    pub async fn pull(&self, reference: &str, snapshotter: &str) -> Result<()> {
        self.transfer(Source::Registry(registry(reference)), Destination::Store(image_store(reference, snapshotter)))
            .await
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
        let mounts = self.store.view_snapshot(&self.scope, snapshotter, &key, name.as_str(), Labels::new()).unwrap();
        let mounted = sys::mount::TempMount::new(&mounts).unwrap();
        let content = fs::read(mounted.path().join(path)).ok();
        drop(mounted);
        self.store.remove_snapshot(&self.scope, snapshotter, &key).unwrap();
        content
    }
}

pub fn open(root: &TempDir, more: Vec<(String, Arc<dyn Driver>)>) -> Store {
    let folder = |name: &str| -> PathBuf { root.path().join(name) };
    let mut config = StoreConfig::new(root.path());
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
