//! An engine under a directory of its own, and containers of busybox to run in it.

use engine::{CreateTask, Engine, EngineConfig, Exchange, ProcessId, Subscription, Timeouts};
use model::{Any, Container, Envelope, Event, Labels, Mount, Namespace, Runtime, Scope};
use proto::convert::{any_to_wire, event_from_wire};
use serde_json::json;
use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};
use store::{Store, StoreConfig};
use tests::{Impl, leaks::Traces};
use tokio::time;

pub(crate) const SPEC: &str = "types.containerd.io/opencontainers/runtime-spec/1/Spec";

/// Passes the events of tasks.
const TASKS: &str = "topic~=\"^/tasks/\"";

/// Directories, a namespace and a shim; survives the death of the engines opened in it.
pub(crate) struct Bed {
    traces: Traces,
    shim: PathBuf,
    _folder: tempfile::TempDir,
}

impl Bed {
    pub(crate) fn new(shim: Impl) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let filter = tracing_subscriber::EnvFilter::from_default_env();
        let _set_already = tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init();
        let folder = tempfile::Builder::new().prefix("e-").tempdir().unwrap();
        let namespace = format!("e{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        fs::create_dir_all(folder.path().join("rootfs/bin")).unwrap();
        for name in ["proc", "dev", "tmp", "etc", "sys"] {
            fs::create_dir(folder.path().join("rootfs").join(name)).unwrap();
        }
        tests::install(Path::new("/bin/busybox"), &folder.path().join("rootfs/bin/busybox"));
        for applet in ["true", "false", "sh", "sleep", "cat", "echo"] {
            std::os::unix::fs::symlink("busybox", folder.path().join("rootfs/bin").join(applet)).unwrap();
        }
        let traces = Traces { dir: folder.path().to_owned(), namespace };
        Self { traces, shim: shim.shim(), _folder: folder }
    }

    /// The bed of another process, which outlives this one.
    pub(crate) fn existing(folder: &Path, namespace: &str, shim: &Path) -> (EngineConfig, Scope) {
        (config(folder, shim), Scope::new(Namespace::new(namespace).unwrap()))
    }

    pub(crate) fn folder(&self) -> &Path {
        &self.traces.dir
    }

    pub(crate) fn namespace(&self) -> &str {
        &self.traces.namespace
    }

    pub(crate) fn shim(&self) -> &Path {
        &self.shim
    }

    pub(crate) fn bundle(&self, id: &str) -> PathBuf {
        self.folder().join("state/io.containerd.runtime.v2.task").join(self.namespace()).join(id)
    }

    /// What is on this machine because of us.
    pub(crate) fn found(&self) -> Vec<String> {
        self.traces.found()
    }

    /// Waits until nothing is left, and says what is if it stays.
    pub(crate) fn assert_clean(&self) {
        let start = std::time::Instant::now();
        loop {
            let found = self.found();
            if found.is_empty() {
                return;
            }
            assert!(start.elapsed() < tests::PATIENCE, "left behind: {found:#?}");
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) async fn open(&self) -> Running {
        self.open_with(|_| ()).await
    }

    /// Opens an engine with other time limits.
    pub(crate) async fn open_with(&self, edit: impl FnOnce(&mut Timeouts)) -> Running {
        let mut config = config(self.folder(), &self.shim);
        edit(&mut config.timeouts);
        Running::open(config, self.namespace()).await
    }

    /// Opens an engine with a subscriber from before its first event.
    pub(crate) async fn open_subscribed(&self) -> (Running, Subscription) {
        let exchange = Arc::new(Exchange::new());
        let events = exchange.subscribe(&[TASKS.to_owned()]).unwrap();
        let running = Running::open_on(config(self.folder(), &self.shim), self.namespace(), exchange).await;
        (running, events)
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        self.traces.remove();
    }
}

fn config(folder: &Path, shim: &Path) -> EngineConfig {
    let mut config =
        EngineConfig::new(folder.join("root"), folder.join("state"), folder.join("c.sock").display().to_string());
    config.socket_dir = folder.join("s");
    config.search = vec![shim.parent().unwrap().to_owned()];
    config.shim_env = vec![OsString::from("RUST_BACKTRACE=1")];
    // What is late on a busy machine is not lost.
    let patience = tests::PATIENCE;
    config.timeouts = Timeouts {
        cleanup: patience,
        state: patience,
        stats: patience,
        start: patience,
        deletion: Duration::from_secs(30),
        overtaken: Duration::from_secs(2),
        ..Timeouts::default()
    };
    config
}

/// An open engine. Dropped with its runtime, it is as dead as after kill -9.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    pub(crate) store: Store,
    pub(crate) scope: Scope,
    pub(crate) config: EngineConfig,
}

impl Running {
    pub(crate) async fn open(config: EngineConfig, namespace: &str) -> Self {
        Self::open_on(config, namespace, Arc::new(Exchange::new())).await
    }

    async fn open_on(config: EngineConfig, namespace: &str, exchange: Arc<Exchange>) -> Self {
        let scope = Scope::new(Namespace::new(namespace).unwrap());
        let (root, sink) = (config.root.clone(), Arc::clone(&exchange));
        let store = tokio::task::spawn_blocking(move || open_store(&root, &sink)).await.unwrap();
        let engine = Engine::open(config.clone(), store.clone(), exchange).await.unwrap();
        Self { engine, store, scope, config }
    }

    /// Records a container that runs `args`.
    pub(crate) fn container(&self, id: &str, args: &[&str]) {
        self.container_with(id, args, &json!({}));
    }

    /// The same with `annotations`.
    pub(crate) fn container_with(&self, id: &str, args: &[&str], annotations: &serde_json::Value) {
        let container = self.record(id, args, "rootfs".as_ref(), annotations);
        self.store.create_container(&self.scope, container).unwrap();
    }

    /// Records one that needs no mounts from whoever creates its task.
    pub(crate) fn labelled(&self, id: &str, args: &[&str], labels: &[(&str, &str)]) {
        let mut container = self.record(id, args, &self.config.root.with_file_name("rootfs"), &json!({}));
        container.labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.store.create_container(&self.scope, container).unwrap();
    }

    fn record(&self, id: &str, args: &[&str], root: &Path, annotations: &serde_json::Value) -> Container {
        let spaces: Vec<_> =
            ["pid", "ipc", "uts", "mount", "network"].iter().map(|kind| json!({ "type": kind })).collect();
        let spec = json!({
            "ociVersion": "1.0.2",
            "annotations": annotations,
            "process": { "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/bin"], "cwd": "/" },
            "root": { "path": root },
            "mounts": [
                { "destination": "/proc", "type": "proc", "source": "proc" },
                { "destination": "/dev", "type": "tmpfs", "source": "tmpfs" },
            ],
            "linux": {
                "cgroupsPath": format!("/{}/{id}", self.scope.namespace),
                "namespaces": spaces,
                "resources": { "devices": [{ "allow": false, "access": "rwm" }] },
            },
        });
        Container {
            id: id.to_owned(),
            labels: Labels::new(),
            runtime: Runtime { name: "io.containerd.runc.v2".to_owned(), options: None },
            spec: Some(Any { type_url: SPEC.to_owned(), value: spec.to_string().into_bytes() }),
            ..Container::default()
        }
    }

    /// The request to create the task of `id`.
    pub(crate) fn task(&self, id: &str) -> CreateTask {
        let rootfs = self.config.root.with_file_name("rootfs");
        CreateTask {
            container: id.to_owned(),
            rootfs: vec![Mount {
                fs_type: "bind".to_owned(),
                source: rootfs.display().to_string(),
                target: String::new(),
                options: vec!["rbind".to_owned(), "ro".to_owned()],
            }],
            ..CreateTask::default()
        }
    }

    /// Records, creates and starts a container.
    pub(crate) async fn run(&self, id: &str, args: &[&str]) -> u32 {
        self.container(id, args);
        self.engine.create_task(&self.scope, self.task(id)).await.unwrap();
        self.engine.start(&self.scope, &ProcessId::init(id)).await.unwrap()
    }

    /// Kills, awaits and deletes a task.
    pub(crate) async fn end(&self, id: &str) {
        let process = ProcessId::init(id);
        self.engine.kill(&self.scope, &process, 9, true).await.unwrap();
        self.engine.wait(&self.scope, &process).await.unwrap();
        self.engine.delete_task(&self.scope, id).await.unwrap();
    }

    pub(crate) fn events(&self) -> Subscription {
        self.engine.exchange().subscribe(&[TASKS.to_owned()]).unwrap()
    }
}

/// Opens the store as soon as nobody else has it: a child that a killed process had forked may hold its lock, until it
/// executes its program.
fn open_store(root: &Path, sink: &Arc<Exchange>) -> Store {
    let mut opened = None;
    tests::eventually("the store to be free", || {
        let mut config = StoreConfig::new(root);
        config.gc = None;
        match Store::open(config, Arc::<Exchange>::clone(sink)) {
            Err(error) if error.kind() == model::Kind::FailedPrecondition => {}
            other => opened = Some(other.unwrap()),
        }
        opened.is_some()
    });
    opened.unwrap()
}

/// The next event as `topic subject`, where the subject is the exec's id or the container's.
pub(crate) async fn next(events: &mut Subscription) -> String {
    let envelope = time::timeout(tests::PATIENCE, events.next()).await.expect("an event").unwrap();
    format!("{} {}", envelope.topic, subject(&envelope))
}

pub(crate) fn subject(envelope: &Envelope) -> String {
    match event_from_wire(&any_to_wire(envelope.event.clone())).unwrap() {
        Event::TaskCreate(task) => task.container_id,
        Event::TaskStart { container_id, .. }
        | Event::TaskPaused { container_id }
        | Event::TaskResumed { container_id } => container_id,
        Event::TaskExit { id, .. } => id,
        Event::TaskDelete { container_id, id, .. } => {
            if id.is_empty() {
                container_id
            } else {
                id
            }
        }
        Event::TaskExecAdded { exec_id, .. } | Event::TaskExecStarted { exec_id, .. } => exec_id,
        other => panic!("{other:?}"),
    }
}

/// One test for each shim.
macro_rules! for_each_shim {
    ($($test:ident),+ $(,)?) => { $(
        mod $test {
            #[test]
            fn go() {
                super::$test(::tests::Impl::Go);
            }
            #[test]
            fn ours() {
                super::$test(::tests::Impl::Ours);
            }
        }
    )+ };
}
pub(crate) use for_each_shim;

/// Runs `test` on a runtime of its own, which is gone afterwards with all its tasks.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let result = runtime.block_on(test);
    runtime.shutdown_timeout(Duration::from_secs(10));
    result
}
