//! What an embedder tells the engine before it opens.

use std::{ffi::OsString, path::PathBuf, time::Duration};

/// Where the engine lives and how patient it is.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Persistent root; shims' work directories live in `io.containerd.runtime.v2.task` below it.
    pub root: PathBuf,
    /// Volatile state (a tmpfs); bundles live in `io.containerd.runtime.v2.task` below it.
    pub state: PathBuf,
    /// The daemon's gRPC socket path, as shims are told it. Part of the name of a shim's socket.
    pub address: String,
    /// The socket path on which shims forward events, `<address>.ttrpc` by convention.
    pub ttrpc_address: String,
    /// The program shims may run to publish an event (`<program> --address A publish …`).
    pub publish_binary: PathBuf,
    /// Our version, as shims are told it.
    pub version: String,
    /// Where shim binaries are looked up, after `PATH` (the daemon's own folder, by convention).
    pub search: Vec<PathBuf>,
    /// `NAME=value` added to every shim's environment.
    pub shim_env: Vec<OsString>,
    /// Where shims put their sockets: absolute, at most 42 bytes, so that a socket's path fits.
    pub socket_dir: PathBuf,
    /// Whether shims log in detail.
    pub debug: bool,
    /// Every wait's bound.
    pub timeouts: Timeouts,
}

impl EngineConfig {
    /// The most bytes [`EngineConfig::socket_dir`] may have (containerd's `maxSocketDirLen`): a
    /// unix socket's path has 108 bytes, and a shim's name takes 65.
    pub const MAX_SOCKET_DIR: usize = 42;

    /// containerd's defaults for a daemon with these folders and this gRPC socket.
    pub fn new(root: impl Into<PathBuf>, state: impl Into<PathBuf>, address: impl Into<String>) -> Self {
        let (address, program) = (address.into(), std::env::current_exe().unwrap_or_default());
        Self {
            root: root.into(),
            state: state.into(),
            ttrpc_address: format!("{address}.ttrpc"),
            address,
            search: program.parent().map(PathBuf::from).into_iter().collect(),
            publish_binary: program,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            shim_env: Vec::new(),
            socket_dir: PathBuf::from("/run/containerd/s"),
            debug: false,
            timeouts: Timeouts::default(),
        }
    }
}

/// The longest the engine waits for a shim; a container whose shim takes longer gets an error, and
/// every other container goes on. Names in brackets are containerd's `[timeouts]` keys.
#[derive(Clone, Debug)]
pub struct Timeouts {
    /// A shim's answer after a daemon restart (`io.containerd.timeout.shim.load`).
    pub load: Duration,
    /// Cleaning up after a dead shim (`io.containerd.timeout.shim.cleanup`).
    pub cleanup: Duration,
    /// A shim's end after its last task is deleted (`io.containerd.timeout.shim.shutdown`).
    pub shutdown: Duration,
    /// A task's state, in a listing or alone (`io.containerd.timeout.task.state`).
    pub state: Duration,
    /// A container's metrics (`io.containerd.timeout.metrics.shimstats`).
    pub stats: Duration,
    /// The run of `<shim> start`, and the connection to the socket it names.
    pub start: Duration,
    /// Any other request to a shim (create, start, exec, kill, checkpoint, …): it may run hooks,
    /// so this is long, and only there so that nothing waits for ever.
    pub call: Duration,
    /// A shim's event of a deletion, once it has deleted; else it is published for the shim.
    pub deletion: Duration,
    /// The event of an exit that the event of the task's deletion has overtaken, as Go's shim lets it. Less than
    /// `deletion`. It is waited out by tasks whose exit the daemon before us has published.
    pub overtaken: Duration,
    /// The clients that heard events of the daemon before us, for whom the events that shims kept wait after a start
    /// (`io.containerd.timeout.events.subscribers`, a name of ours). Less than a shim's own patience by far.
    pub subscribers: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            load: Duration::from_secs(5),
            cleanup: Duration::from_secs(5),
            shutdown: Duration::from_secs(3),
            state: Duration::from_secs(2),
            stats: Duration::from_secs(2),
            start: Duration::from_secs(30),
            call: Duration::from_secs(300),
            deletion: Duration::from_millis(500),
            overtaken: Duration::from_millis(250),
            subscribers: Duration::from_secs(2),
        }
    }
}
