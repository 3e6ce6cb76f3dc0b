//! The daemon's configuration: containerd's TOML, versions 1 to 4, as one typed value.
//!
//! ```text
//! file ─ check (known keys, types) ─ migrate (→ newest layout) ─ merge ─ Config
//!   └─ imports, breadth first, each file once
//! ```

mod check;
mod duration;
mod load;
mod migrate;
mod render;
mod transfer;

use model::{Error, Result};
use serde::{Deserialize, Deserializer, de};
use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
    time::Duration,
};
use toml::{Table, Value};
pub(crate) use transfer::{ImageVerifier, Transfer, UnpackConfig, VERIFIERS};

/// The file read when no other is named, if it exists.
pub(crate) const DEFAULT_PATH: &str = "/etc/containerd/config.toml";

/// Linux's limit for the path of a unix socket (`sun_path`), with its closing NUL.
pub(crate) const MAX_SOCKET_PATH: usize = 108;

/// The full id of the monitor that restarts containers.
pub(crate) const RESTART_MONITOR: &str = "io.containerd.monitor.container.v1.restart";

/// A key nobody knows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) file: PathBuf,
    pub(crate) line: usize,
    pub(crate) column: usize,
    pub(crate) key: String,
}

/// Configuration files merged over the defaults, in the newest layout.
#[derive(Debug)]
pub(crate) struct Loaded {
    config: Table,
    /// Version of the main file, at least 3.
    version: i64,
    /// Keys that were ignored.
    pub(crate) warnings: Vec<Warning>,
}

impl Loaded {
    /// The built-in defaults alone.
    pub(crate) fn defaults() -> Result<Self> {
        Ok(Self { config: defaults(&known()?), version: 3, warnings: Vec::new() })
    }

    /// Reads `path`; a missing file is an error only if it was `named` by the user.
    ///
    /// Without an `imports` key of its own, the default file imports the default folder.
    pub(crate) fn read(path: &Path, named: bool) -> Result<Self> {
        let known = known()?;
        let is_default = path == Path::new(DEFAULT_PATH);
        let imports = known.get("imports").and_then(Value::as_array).filter(|_| is_default);
        let imports: Vec<String> = imports.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect();
        let missing = !named && !path.exists();
        load::load((!missing).then_some(path), &imports, &known)
    }

    /// The command line's say, which goes over any file.
    pub(crate) fn apply(&mut self, flags: &Flags) -> Result<()> {
        for (key, value) in [("root", &flags.root), ("state", &flags.state)] {
            if let Some(path) = value {
                let absolute = std::path::absolute(path)
                    .map_err(|error| Error::io(format!("--{key} {}", path.display()), error))?;
                self.config.insert(key.into(), Value::String(absolute.to_string_lossy().into_owned()));
            }
        }
        if let Some(level) = &flags.log_level {
            section(&mut self.config, &["debug"]).insert("level".into(), Value::String(level.clone()));
        }
        if let Some(address) = &flags.address {
            let grpc = section(&mut self.config, &["plugins", migrate::server::GRPC]);
            grpc.insert("address".into(), Value::String(address.clone()));
        }
        Ok(())
    }

    /// As `config dump` prints it: in the main file's version, or 3, which every
    /// containerd 2.x reads.
    pub(crate) fn render(mut self) -> String {
        if self.version < 4 {
            migrate::to_version_3(&mut self.config);
        }
        render::render(self.version, &self.config)
    }

    /// The typed configuration.
    pub(crate) fn into_config(self) -> Result<Config> {
        let config: Config = Value::Table(self.config)
            .try_into()
            .map_err(|error: toml::de::Error| Error::invalid_argument(format!("configuration: {}", error.message())))?;
        config.finish()
    }
}

/// What the command line can override.
#[derive(Debug, Default)]
pub(crate) struct Flags {
    pub(crate) root: Option<PathBuf>,
    pub(crate) state: Option<PathBuf>,
    pub(crate) address: Option<String>,
    pub(crate) log_level: Option<String>,
}

fn known() -> Result<Table> {
    let mut known: Table = toml::from_str(include_str!("defaults.toml"))
        .map_err(|error| Error::internal(format!("built-in configuration: {error}")))?;
    known.insert("version".into(), Value::Integer(0));
    Ok(known)
}

/// The known keys without wildcards and without what version 4 has moved.
fn defaults(known: &Table) -> Table {
    fn strip(table: &mut Table) {
        table.remove(check::ANY);
        table.retain(|_, value| !value.as_array().and_then(|array| array.first()).is_some_and(Value::is_table));
        table.iter_mut().filter_map(|(_, value)| value.as_table_mut()).for_each(strip);
    }
    let mut defaults = known.clone();
    strip(&mut defaults);
    for gone in ["version", "grpc", "ttrpc", "metrics"] {
        defaults.remove(gone);
    }
    for gone in ["address", "uid", "gid"] {
        section(&mut defaults, &["debug"]).remove(gone);
    }
    defaults
}

/// The table at `path`, made if it is not there.
fn section<'a>(table: &'a mut Table, path: &[&str]) -> &'a mut Table {
    let Some((first, rest)) = path.split_first() else { return table };
    let entry = table.entry(*first).or_insert_with(|| Value::Table(Table::new()));
    if !entry.is_table() {
        *entry = Value::Table(Table::new());
    }
    match entry {
        Value::Table(inner) => section(inner, rest),
        _ => unreachable!("made a table just above"),
    }
}

/// Everything the daemon is told. Field names are the keys' names.
#[derive(Debug, Deserialize)]
pub(crate) struct Config {
    pub(crate) root: PathBuf,
    pub(crate) state: PathBuf,
    pub(crate) temp: PathBuf,
    pub(crate) disabled_plugins: Vec<String>,
    pub(crate) required_plugins: Vec<String>,
    pub(crate) oom_score: i32,
    pub(crate) cgroup: Cgroup,
    pub(crate) debug: Debug,
    #[serde(deserialize_with = "durations")]
    pub(crate) timeouts: BTreeMap<String, Duration>,
    #[serde(default)]
    pub(crate) proxy_plugins: BTreeMap<String, ProxyPlugin>,
    pub(crate) stream_processors: BTreeMap<String, StreamProcessor>,
    pub(crate) plugins: Plugins,
}

/// The cgroup the daemon joins, if any.
#[derive(Debug, Deserialize)]
pub(crate) struct Cgroup {
    pub(crate) path: String,
}

/// Logs.
#[derive(Debug, Deserialize)]
pub(crate) struct Debug {
    /// `trace`, `debug`, `info`, `warn`, `error`, `fatal` or `panic`; empty is `info`.
    pub(crate) level: String,
    /// `text` or `json`; empty is `text`.
    pub(crate) format: String,
}

/// A plugin in another process.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct ProxyPlugin {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) address: String,
    #[serde(default)]
    pub(crate) exports: BTreeMap<String, String>,
    #[serde(default)]
    pub(crate) capabilities: Vec<String>,
}

impl ProxyPlugin {
    /// Whether it is a snapshotter, under either of its type's names.
    pub(crate) fn is_snapshotter(&self) -> bool {
        matches!(self.kind.as_str(), "snapshot" | "io.containerd.snapshotter.v1")
    }
}

/// A program that turns one media type of layer into another.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct StreamProcessor {
    #[serde(default)]
    pub(crate) accepts: Vec<String>,
    #[serde(default)]
    pub(crate) returns: String,
    #[serde(default)]
    pub(crate) path: PathBuf,
    #[serde(default)]
    pub(crate) args: Vec<String>,
    #[serde(default)]
    pub(crate) env: Vec<String>,
}

/// The sections of the plugins that are here.
#[derive(Debug, Deserialize)]
pub(crate) struct Plugins {
    #[serde(rename = "io.containerd.server.v1.grpc")]
    pub(crate) grpc: GrpcServer,
    #[serde(rename = "io.containerd.server.v1.grpc-tcp")]
    pub(crate) grpc_tcp: Endpoint,
    #[serde(rename = "io.containerd.server.v1.ttrpc")]
    pub(crate) ttrpc: Socket,
    #[serde(rename = "io.containerd.server.v1.debug")]
    pub(crate) debug: Socket,
    #[serde(rename = "io.containerd.server.v1.metrics")]
    pub(crate) metrics: Endpoint,
    #[serde(rename = "io.containerd.gc.v1.scheduler")]
    pub(crate) gc: Gc,
    #[serde(rename = "io.containerd.metadata.v1.bolt")]
    pub(crate) metadata: Metadata,
    #[serde(rename = "io.containerd.monitor.container.v1.restart")]
    pub(crate) restart: Restart,
    #[serde(rename = "io.containerd.service.v1.diff-service")]
    pub(crate) diff: DiffService,
    #[serde(rename = "io.containerd.shim.v1.manager")]
    pub(crate) shim: ShimManager,
    #[serde(rename = "io.containerd.snapshotter.v1.native")]
    pub(crate) native: Native,
    #[serde(rename = "io.containerd.snapshotter.v1.overlayfs")]
    pub(crate) overlayfs: Overlayfs,
    #[serde(rename = "io.containerd.transfer.v1.local")]
    pub(crate) transfer: Transfer,
    #[serde(rename = "io.containerd.image-verifier.v1.bindir")]
    pub(crate) image_verifier: ImageVerifier,
}

/// The main socket.
#[derive(Debug, Deserialize)]
pub(crate) struct GrpcServer {
    #[serde(flatten)]
    pub(crate) socket: Socket,
    /// Largest request in bytes.
    pub(crate) max_recv_message_size: usize,
    /// Largest response in bytes.
    pub(crate) max_send_message_size: usize,
}

/// A unix socket and who owns it.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Socket {
    pub(crate) address: String,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// A network address; empty is off.
#[derive(Debug, Deserialize)]
pub(crate) struct Endpoint {
    pub(crate) address: String,
}

/// When garbage is collected.
#[derive(Debug, Deserialize)]
pub(crate) struct Gc {
    /// Greatest share of time spent collecting.
    pub(crate) pause_threshold: f64,
    /// Deletions that start a collection; 0 waits for `mutation_threshold`.
    pub(crate) deletion_threshold: u64,
    /// Changes after which the next deletion starts one.
    pub(crate) mutation_threshold: u64,
    #[serde(deserialize_with = "one_duration")]
    pub(crate) schedule_delay: Duration,
    #[serde(deserialize_with = "one_duration")]
    pub(crate) startup_delay: Duration,
}

/// The metadata store.
#[derive(Debug, Deserialize)]
pub(crate) struct Metadata {
    /// `shared` or `isolated`.
    pub(crate) content_sharing_policy: SharingPolicy,
    /// Never wait for the disk: fast, and a power cut loses data.
    pub(crate) no_sync: bool,
}

/// Whether a namespace may use bytes another has uploaded.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub(crate) enum SharingPolicy {
    Shared,
    Isolated,
}

/// The monitor that restarts containers.
#[derive(Debug, Deserialize)]
pub(crate) struct Restart {
    /// Between two looks at every container; 0 is the default.
    #[serde(deserialize_with = "one_duration")]
    pub(crate) interval: Duration,
}

/// Who applies and makes layers.
#[derive(Debug, Deserialize)]
pub(crate) struct DiffService {
    /// Differs in the order they are tried.
    #[serde(rename = "default")]
    pub(crate) differs: Vec<String>,
    /// Sync the whole file system after each layer.
    pub(crate) sync_fs: bool,
}

/// How shims are started.
#[derive(Debug, Deserialize)]
pub(crate) struct ShimManager {
    /// `KEY=value` added to their environment.
    pub(crate) env: Vec<String>,
    /// Where their sockets are; empty is `<state>/s`.
    pub(crate) socket_dir: String,
}

/// The snapshotter that copies.
#[derive(Debug, Deserialize)]
pub(crate) struct Native {
    pub(crate) root_path: String,
}

/// The overlay snapshotter.
#[derive(Debug, Deserialize)]
pub(crate) struct Overlayfs {
    pub(crate) root_path: String,
    pub(crate) upperdir_label: bool,
    pub(crate) sync_remove: bool,
    pub(crate) slow_chown: bool,
    pub(crate) mount_options: Vec<String>,
}

impl Config {
    /// Fills in what follows from other settings, and checks what types cannot say.
    fn finish(mut self) -> Result<Self> {
        let ttrpc = &mut self.plugins.ttrpc;
        let grpc = &self.plugins.grpc.socket;
        if grpc.address.is_empty() {
            return Err(Error::invalid_argument("grpc address cannot be empty"));
        }
        if ttrpc.address.is_empty() {
            ttrpc.address = format!("{}.ttrpc", grpc.address);
            (ttrpc.uid, ttrpc.gid) = (grpc.uid, grpc.gid);
        }
        for address in [&grpc.address, &ttrpc.address] {
            check_socket(address)?;
        }
        if self.root.as_os_str().is_empty() || self.state.as_os_str().is_empty() {
            return Err(Error::invalid_argument("root and state must be specified"));
        }
        if self.root == self.state {
            return Err(Error::invalid_argument("root and state must be different paths"));
        }
        if !(0.0..=0.5).contains(&self.plugins.gc.pause_threshold) {
            let given = self.plugins.gc.pause_threshold;
            return Err(Error::invalid_argument(format!("pause_threshold: {given} is not between 0 and 0.5")));
        }
        Ok(self)
    }

    /// The timeout called `name`, or `default`.
    pub(crate) fn timeout(&self, name: &str, default: Duration) -> Duration {
        self.timeouts.get(name).copied().unwrap_or(default)
    }

    /// Whether the plugin with this full id is switched off.
    pub(crate) fn is_disabled(&self, id: &str) -> bool {
        self.disabled_plugins.iter().any(|disabled| disabled == id)
    }
}

/// Checks a socket's path against the kernel's limit.
pub(crate) fn check_socket(address: &str) -> Result<()> {
    let path = address.strip_prefix("unix://").unwrap_or(address);
    if !Path::new(path).is_absolute() {
        return Err(Error::invalid_argument(format!("address {address:?} is not an absolute path")));
    }
    if path.len() >= MAX_SOCKET_PATH {
        return Err(Error::invalid_argument(format!(
            "socket path {path:?} has {} bytes, the kernel's limit is {}",
            path.len(),
            MAX_SOCKET_PATH - 1
        )));
    }
    Ok(())
}

fn parse_duration<E: de::Error>(text: &str) -> Result<Duration, E> {
    duration::parse(text).ok_or_else(|| E::custom(format!("unable to parse {text:?} into a time duration")))
}

fn one_duration<'de, D: Deserializer<'de>>(input: D) -> Result<Duration, D::Error> {
    parse_duration(&String::deserialize(input)?)
}

fn durations<'de, D: Deserializer<'de>>(input: D) -> Result<BTreeMap<String, Duration>, D::Error> {
    let texts = BTreeMap::<String, String>::deserialize(input)?;
    texts.into_iter().map(|(name, text)| Ok((name, parse_duration(&text)?))).collect()
}

#[cfg(test)]
mod tests;
