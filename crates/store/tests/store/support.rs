//! A store in a temporary directory, its events, and a driver whose calls can be watched and made to fail.

use model::{
    Any, Container, Descriptor, Digest, Error, Event, Filter, Image, Labels, Mount, Namespace, Result, Runtime, Scope,
    SnapshotInfo, Timestamp, Usage,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};
use store::{
    EventSink, GcConfig, Store, StoreConfig, WriterOptions,
    content::Hasher,
    snapshot::{Capability, Commit, Driver, Live, Snapshot},
};
use tempfile::TempDir;

#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<(String, Event)>>);

impl EventSink for Recorder {
    fn publish(&self, namespace: &Namespace, event: Event) {
        self.0.lock().unwrap().push((namespace.to_string(), event));
    }
}

impl Recorder {
    pub(crate) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut *self.0.lock().unwrap()).into_iter().map(|(_, event)| event).collect()
    }

    pub(crate) fn topics(&self) -> Vec<&'static str> {
        self.take().iter().map(Event::topic).collect()
    }
}

pub(crate) struct Fixture {
    pub(crate) store: Store,
    pub(crate) events: Arc<Recorder>,
    pub(crate) driver: Arc<Directories>,
    pub(crate) dir: TempDir,
}

impl Fixture {
    pub(crate) fn new() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut StoreConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let driver = Arc::new(Directories::new(dir.path().join("snapshots")));
        let events = Arc::new(Recorder::default());
        let mut config = config(&dir, &driver);
        change(&mut config);
        let store = Store::open(config, events.clone()).unwrap();
        Self { store, events, driver, dir }
    }

    /// Closes the store and opens it again.
    pub(crate) fn reopen(self) -> Self {
        let Self { store, events, driver, dir } = self;
        drop(store);
        let store = Store::open(config(&dir, &driver), events.clone()).unwrap();
        Self { store, events, driver, dir }
    }

    pub(crate) fn blob_file(&self, digest: &Digest) -> PathBuf {
        let content = self.dir.path().join("io.containerd.content.v1.content/blobs");
        content.join(digest.algorithm().as_str()).join(digest.hex())
    }
}

fn config(dir: &TempDir, driver: &Arc<Directories>) -> StoreConfig {
    StoreConfig { snapshotters: vec![("test".into(), driver.clone())], gc: None, ..StoreConfig::new(dir.path()) }
}

pub(crate) fn scope(namespace: &str) -> Scope {
    Scope::new(Namespace::new(namespace).unwrap())
}

pub(crate) fn leased(namespace: &str, lease: &str) -> Scope {
    Scope { lease: Some(lease.into()), ..scope(namespace) }
}

pub(crate) fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

pub(crate) fn digest(bytes: &[u8]) -> Digest {
    let mut hasher = Hasher::new(model::Algorithm::Sha256);
    hasher.update(bytes);
    hasher.digest().unwrap()
}

/// Writes a blob the way clients do.
pub(crate) fn put_blob(store: &Store, scope: &Scope, bytes: &[u8], with: &[(&str, &str)]) -> Digest {
    let options = WriterOptions { reference: format!("put-{}", digest(bytes)), ..WriterOptions::default() };
    let mut writer = store.open_writer(scope, &options).unwrap();
    writer.write(bytes).unwrap();
    writer.commit(bytes.len() as u64, Some(&digest(bytes)), labels(with)).unwrap()
}

pub(crate) fn image(name: &str, target: &Digest) -> Image {
    Image {
        name: name.into(),
        labels: Labels::new(),
        target: Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            digest: target.clone(),
            size: 1,
            annotations: BTreeMap::new(),
        },
        created_at: Timestamp::default(),
        updated_at: Timestamp::default(),
    }
}

pub(crate) fn container(id: &str) -> Container {
    Container {
        id: id.into(),
        image: "docker.io/library/debian:sid".into(),
        runtime: Runtime { name: "io.containerd.runc.v2".into(), options: None },
        spec: Some(Any {
            type_url: "types.containerd.io/opencontainers/runtime-spec/1/Spec".into(),
            value: b"{}".into(),
        }),
        ..Container::default()
    }
}

pub(crate) fn filter(text: &str) -> Filter {
    Filter::parse(&[text]).unwrap()
}

/// A driver that keeps an empty directory for each snapshot.
#[derive(Debug)]
pub(crate) struct Directories {
    root: PathBuf,
    /// Makes the next commit fail.
    pub(crate) fail_commit: AtomicBool,
    /// Keeps cleanup waiting while set.
    pub(crate) stuck: AtomicBool,
    measured: AtomicU64,
    /// What `find` has, by reference: a remote driver's own snapshots.
    pub(crate) remote: Mutex<BTreeMap<String, SnapshotInfo>>,
    /// Labels of the last call that carried any.
    pub(crate) seen: Mutex<Labels>,
    pub(crate) parents: Mutex<Vec<u64>>,
}

impl Directories {
    fn new(root: PathBuf) -> Self {
        fs::create_dir_all(&root).unwrap();
        Self {
            root,
            fail_commit: AtomicBool::new(false),
            stuck: AtomicBool::new(false),
            measured: AtomicU64::new(0),
            remote: Mutex::default(),
            seen: Mutex::default(),
            parents: Mutex::default(),
        }
    }

    pub(crate) fn ids(&self) -> BTreeSet<u64> {
        let entries = fs::read_dir(&self.root).unwrap();
        entries.map(|entry| entry.unwrap().file_name().to_str().unwrap().parse().unwrap()).collect()
    }

    /// What a crash between prepare and its record leaves.
    pub(crate) fn orphan(&self, id: u64) {
        fs::create_dir(self.root.join(id.to_string())).unwrap();
    }
}

impl Driver for Directories {
    fn capabilities(&self) -> Vec<Capability> {
        vec![Capability::Rebase]
    }

    fn prepare(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        self.seen.lock().unwrap().clone_from(snapshot.labels);
        *self.parents.lock().unwrap() = snapshot.parents.to_vec();
        if let Some(reference) = snapshot.labels.get("containerd.io/snapshot.ref")
            && self.remote.lock().unwrap().contains_key(reference)
        {
            return Err(Error::already_exists(reference.clone()));
        }
        let dir = self.root.join(snapshot.id.to_string());
        fs::create_dir(&dir).map_err(|error| Error::io("prepare", error))?;
        self.mounts(snapshot)
    }

    fn mounts(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        let source = self.root.join(snapshot.id.to_string()).to_str().unwrap().to_owned();
        Ok(vec![Mount { fs_type: "bind".into(), source, ..Mount::default() }])
    }

    fn commit(&self, snapshot: &Snapshot<'_>, commit: &Commit<'_>) -> Result<()> {
        self.seen.lock().unwrap().clone_from(commit.labels);
        if self.fail_commit.swap(false, Ordering::SeqCst) {
            return Err(Error::resource_exhausted(format!("commit {}", snapshot.key)));
        }
        Ok(())
    }

    /// How often it was asked.
    fn usage(&self, _snapshot: &Snapshot<'_>) -> Result<Usage> {
        Ok(Usage { inodes: self.measured.fetch_add(1, Ordering::SeqCst) + 1, size: 9 })
    }

    fn labels(&self, _snapshot: &Snapshot<'_>) -> Result<Labels> {
        Ok(labels(&[("containerd.io/snapshot/test.upper", "/upper"), ("own", "driver")]))
    }

    fn find(&self, reference: &str, _parent: &str) -> Result<Option<SnapshotInfo>> {
        Ok(self.remote.lock().unwrap().get(reference).cloned())
    }

    fn remove(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        let _ = fs::remove_dir(self.root.join(snapshot.id.to_string()));
        Ok(())
    }

    fn cleanup(&self, live: &dyn Fn() -> Result<Live>) -> Result<()> {
        while self.stuck.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(5));
        }
        let found = self.ids();
        let live = live()?;
        for id in found.iter().filter(|id| !live.ids.contains(id)) {
            let _ = fs::remove_dir(self.root.join(id.to_string()));
        }
        Ok(())
    }
}

/// A schedule that collects eagerly.
pub(crate) fn eager() -> GcConfig {
    GcConfig {
        startup_delay: Duration::from_millis(1),
        pause_threshold: 0.5,
        mutation_threshold: 1,
        ..GcConfig::default()
    }
}
