//! The daemon: everything is made here, in order and by name, and ended in reverse.
//!
//! ```text
//! directories, lock ─ snapshotters ─ store ─ engine ─ services ─ sockets ─ ready
//!                                     └─ events ──► exchange ◄── shims (ttrpc)
//! ```

use crate::{
    config::{Config, Gc, Loaded, RESTART_MONITOR, SharingPolicy},
    directories, dump, grpc, identity, log, memory, plugins,
    snapshotters::Snapshotters,
    socket, systemd, transfers,
    version::{REVISION, VERSION},
};
use engine::{Engine, EngineConfig, Exchange, RestartMonitor, Timeouts, transfer::Transfers};
use model::{Error, Result};
use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use store::{EventSink, GcConfig, Sharing, Store, StoreConfig, layers::StreamProcessor};
use tokio::{
    runtime,
    signal::unix::{SignalKind, signal},
    sync::watch,
};

/// Threads for async work: it only passes on what others do.
const WORKERS: usize = 2;
/// Most threads that wait for the disk. Group commit makes one sync of all their writes.
const BLOCKING: usize = 64;
/// An idle one ends soon, and gives its stack back.
const KEEP_ALIVE: Duration = Duration::from_secs(2);
/// How long requests may take to end once we are told to stop.
const DRAIN: Duration = Duration::from_secs(10);
/// How long one call of a snapshotter may take while garbage is collected.
const BACKEND_TIMEOUT: Duration = Duration::from_secs(60);

/// The one differ there is.
const DIFFER: &str = "walking";
/// Where containerd has the sockets of shims.
const SHIM_SOCKETS: &str = "/run/containerd/s";

/// Runs the daemon until it is told to stop.
pub(crate) fn run(loaded: Loaded) -> Result<()> {
    let warnings: Vec<_> = loaded.warnings.iter().map(|w| (w.file.clone(), w.line, w.column, w.key.clone())).collect();
    let config = loaded.into_config()?;
    log::init(&config.debug.level, &config.debug.format)?;
    for (file, row, column, key) in warnings {
        tracing::warn!(file = %file.display(), row, column, key, "Ignoring unknown key in TOML");
    }
    // Held to the end.
    let _lock = directories::prepare(&config)?;
    let runtime = runtime::Builder::new_multi_thread()
        .worker_threads(WORKERS)
        .max_blocking_threads(BLOCKING)
        .thread_keep_alive(KEEP_ALIVE)
        .enable_all()
        .build()
        .map_err(|error| Error::io("start runtime", error))?;
    let result = runtime.block_on(serve(config));
    // What still blocks on a disk or a mount that hangs must not hang us.
    runtime.shutdown_timeout(Duration::from_secs(5));
    result
}

async fn serve(config: Config) -> Result<()> {
    let started = Instant::now();
    // From now on a signal ends us in order.
    let mut signals = Signals::new()?;
    tracing::info!(version = VERSION, revision = REVISION, "starting containerd");
    join_host(&config)?;
    let exchange = Arc::new(Exchange::new());
    let snapshotters = Snapshotters::open(&config);
    let store = open_store(&config, &snapshotters, Arc::clone(&exchange)).await?;
    // Before shims are adopted: a second daemon on these sockets must not get that far.
    let main_socket = socket::listen(&config.plugins.grpc.socket)?;
    socket::remove_stale(&config.plugins.ttrpc)?;
    let engine = Engine::open(engine_config(&config), store.clone(), exchange).await?;
    socket::protect(&config.plugins.ttrpc)?;
    let plugins = plugins::describe(&config, &snapshotters);
    check_required(&config, &plugins)?;
    let monitor = restart_monitor(&config, &engine, &store).await?;
    let router = grpc::router(grpc::Backends {
        store: store.clone(),
        engine: engine.clone(),
        transfers: Transfers::new(store.clone(), transfers::settings(&config, &snapshotters, processors(&config))?),
        plugins,
        uuid: identity::uuid(&config.root)?,
        processors: processors(&config),
        sync_fs: config.plugins.diff.sync_fs,
        limits: (config.plugins.grpc.max_recv_message_size, config.plugins.grpc.max_send_message_size),
    });
    note_unserved(&config);

    tracing::info!(address = config.plugins.ttrpc.address, "serving...");
    tracing::info!(address = config.plugins.grpc.socket.address, "serving...");
    let (stop, stopped) = watch::channel(false);
    let subscribed = Arc::clone(engine.exchange());
    let dismiss = move || subscribed.dismiss_clients();
    let clients = tokio::spawn(grpc::serve(main_socket, router.clone(), stopped, DRAIN, dismiss));
    tokio::spawn(memory::shrink_when_idle(router.clone()));
    systemd::ready();
    tracing::info!("containerd successfully booted in {:.6}s", started.elapsed().as_secs_f64());

    signals.until_stop(&router).await;
    systemd::stopping();
    // What ends from now on is restarted by the next daemon.
    drop(monitor);
    stop.send_replace(true);
    // Requests end first: they may still wait for events of shims.
    join(clients).await;
    engine.shutdown().await;
    for address in [&config.plugins.grpc.socket.address, &config.plugins.ttrpc.address] {
        remove_socket(address);
    }
    tracing::info!("containerd stopped");
    Ok(())
}

async fn join(task: tokio::task::JoinHandle<()>) {
    if let Err(error) = task.await {
        tracing::error!(%error, "server ended badly");
    }
}

fn remove_socket(address: &str) {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    if let Err(error) = fs::remove_file(path) {
        tracing::debug!(path, %error, "remove socket");
    }
}

/// The signals we answer to. SIGPIPE is ignored by every Rust program.
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
    dump: tokio::signal::unix::Signal,
}

impl Signals {
    fn new() -> Result<Self> {
        let listen = |kind| signal(kind).map_err(|error| Error::io("listen to signals", error));
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            dump: listen(SignalKind::user_defined1())?,
        })
    }

    async fn until_stop(&mut self, router: &grpc::Router) {
        loop {
            let name = tokio::select! {
                _ = self.terminate.recv() => "terminated",
                _ = self.interrupt.recv() => "interrupt",
                _ = self.dump.recv() => {
                    dump::dump(router);
                    continue;
                }
            };
            tracing::info!(signal = name, "stopping containerd");
            return;
        }
    }
}

/// What the configuration says about our own process.
fn join_host(config: &Config) -> Result<()> {
    if config.oom_score != 0
        && let Err(error) = fs::write("/proc/self/oom_score_adj", config.oom_score.to_string())
    {
        tracing::error!(%error, score = config.oom_score, "failed to change OOM score");
    }
    if config.cgroup.path.is_empty() {
        return Ok(());
    }
    let path = Path::new(&config.cgroup.path);
    sys::cgroup::Cgroup::at(path)
        .and_then(|group| group.add_process(std::process::id()))
        .map_err(|error| Error::io(format!("join cgroup {}", path.display()), error))
}

async fn open_store(config: &Config, snapshotters: &Snapshotters, exchange: Arc<Exchange>) -> Result<Store> {
    let metadata = &config.plugins.metadata;
    let store = StoreConfig {
        root: config.root.clone(),
        sharing: match metadata.content_sharing_policy {
            SharingPolicy::Shared => Sharing::Shared,
            SharingPolicy::Isolated => Sharing::Isolated,
        },
        no_sync: metadata.no_sync,
        snapshotters: snapshotters.ready.clone(),
        gc: (!config.is_disabled("io.containerd.gc.v1.scheduler")).then(|| gc_config(&config.plugins.gc)),
    };
    let events: Arc<dyn EventSink> = exchange;
    // It may repair what a power cut has left.
    tokio::task::spawn_blocking(move || Store::open(store, events))
        .await
        .map_err(|error| Error::internal(format!("open store: {error}")))?
}

async fn restart_monitor(config: &Config, engine: &Engine, store: &Store) -> Result<Option<RestartMonitor>> {
    if config.is_disabled(RESTART_MONITOR) {
        return Ok(None);
    }
    RestartMonitor::start(engine.clone(), store.clone(), config.plugins.restart.interval).await.map(Some)
}

fn gc_config(gc: &Gc) -> GcConfig {
    let threshold = |value: u64| u32::try_from(value).unwrap_or(u32::MAX);
    GcConfig {
        pause_threshold: gc.pause_threshold,
        deletion_threshold: threshold(gc.deletion_threshold),
        mutation_threshold: threshold(gc.mutation_threshold),
        schedule_delay: gc.schedule_delay,
        startup_delay: gc.startup_delay,
        backend_timeout: BACKEND_TIMEOUT,
    }
}

fn engine_config(config: &Config) -> EngineConfig {
    let shim = &config.plugins.shim;
    let defaults = Timeouts::default();
    let timeout = |name: &str, default| config.timeout(&format!("io.containerd.timeout.{name}"), default);
    let mut engine = EngineConfig::new(&config.root, &config.state, &config.plugins.grpc.socket.address);
    engine.ttrpc_address.clone_from(&config.plugins.ttrpc.address);
    engine.version = VERSION.to_owned();
    engine.shim_env = shim.env.iter().map(Into::into).collect();
    engine.socket_dir = socket_dir(config);
    engine.debug = matches!(config.debug.level.as_str(), "debug" | "trace");
    engine.timeouts = Timeouts {
        load: timeout("shim.load", defaults.load),
        cleanup: timeout("shim.cleanup", defaults.cleanup),
        shutdown: timeout("shim.shutdown", defaults.shutdown),
        state: timeout("task.state", defaults.state),
        stats: timeout("metrics.shimstats", defaults.stats),
        subscribers: timeout("events.subscribers", defaults.subscribers),
        ..defaults
    };
    engine
}

/// Where shims' sockets are: below our state, or where containerd has them if that path is
/// too long for a socket's.
fn socket_dir(config: &Config) -> PathBuf {
    let configured = &config.plugins.shim.socket_dir;
    if !configured.is_empty() {
        return PathBuf::from(configured);
    }
    let ours = config.state.join("s");
    if ours.as_os_str().len() <= EngineConfig::MAX_SOCKET_DIR {
        return ours;
    }
    tracing::warn!(state = %config.state.display(), "state path is long: sockets of shims are in {SHIM_SOCKETS}");
    PathBuf::from(SHIM_SOCKETS)
}

fn processors(config: &Config) -> Arc<[StreamProcessor]> {
    let processors = config.stream_processors.iter().map(|(id, processor)| StreamProcessor {
        id: id.clone(),
        accepts: processor.accepts.clone(),
        returns: processor.returns.clone(),
        path: processor.path.clone(),
        args: processor.args.iter().map(Into::into).collect(),
        env: processor.env.clone(),
    });
    processors.collect()
}

/// Every plugin the configuration requires must be there and work.
fn check_required(config: &Config, plugins: &[plugins::Plugin]) -> Result<()> {
    if !config.plugins.diff.differs.iter().any(|differ| differ == DIFFER) {
        let given = &config.plugins.diff.differs;
        return Err(Error::failed_precondition(format!(
            "needed differ {given:?} not loaded: there is {DIFFER:?} only"
        )));
    }
    for required in &config.required_plugins {
        let found = plugins.iter().find(|plugin| format!("{}.{}", plugin.kind, plugin.id) == *required);
        match found.map(|plugin| &plugin.init_error) {
            Some(None) => {}
            Some(Some(error)) => {
                return Err(Error::failed_precondition(format!("load required plugin {required}: {error}")));
            }
            None => return Err(Error::failed_precondition(format!("required plugin {required} not included"))),
        }
    }
    Ok(())
}

/// Says what the configuration asks for and this release does not serve.
fn note_unserved(config: &Config) {
    for (what, address) in [
        ("the TCP address serves Kubernetes only, which is not there yet", &config.plugins.grpc_tcp.address),
        ("metrics are not served yet", &config.plugins.metrics.address),
        ("the debug socket is not served yet", &config.plugins.debug.address),
    ] {
        if !address.is_empty() {
            tracing::warn!(address, "not listening: {what}");
        }
    }
    for differ in config.plugins.diff.differs.iter().filter(|differ| *differ != DIFFER) {
        tracing::warn!(differ, "skip differ: it is not there yet");
    }
    for (name, proxy) in &config.proxy_plugins {
        if !proxy.is_snapshotter() {
            tracing::warn!(plugin = name, r#type = proxy.kind, "proxy plugins of this type are not supported yet");
        }
    }
}
