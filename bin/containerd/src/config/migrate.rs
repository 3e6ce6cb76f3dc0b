//! Brings the tables of older configuration versions to the newest layout.
//!
//! 1 → 2: plugins are named by their full id. 2 → 3: only CRI's sections change, and
//! they are carried along as they are. 3 → 4: the server's own settings become plugins.

use model::{Error, Result};
use toml::{Table, Value};

/// The newest version understood.
pub(crate) const NEWEST: i64 = 4;

/// Ids of the sections that replaced `[grpc]`, `[ttrpc]`, `[debug]` and `[metrics]`.
pub(super) mod server {
    pub(crate) const GRPC: &str = "io.containerd.server.v1.grpc";
    pub(crate) const GRPC_TCP: &str = "io.containerd.server.v1.grpc-tcp";
    pub(crate) const TTRPC: &str = "io.containerd.server.v1.ttrpc";
    pub(crate) const DEBUG: &str = "io.containerd.server.v1.debug";
    pub(crate) const METRICS: &str = "io.containerd.server.v1.metrics";
    pub(crate) const GRPC_PROMETHEUS: &str = "io.containerd.metrics.v1.grpc-prometheus";
}

/// What versions 1 and 2 call the restart monitor.
const OLD_RESTART_MONITOR: &str = "io.containerd.internal.v1.restart";

/// The version `config` says it is; none means 1.
pub(super) fn version(config: &Table) -> Result<i64> {
    let version = config.get("version").and_then(Value::as_integer).unwrap_or(0);
    if version > NEWEST {
        return Err(Error::invalid_argument(format!(
            "expected containerd config version equal to or less than `{NEWEST}`, got `{version}`"
        )));
    }
    Ok(version.max(1))
}

/// Migrates `config` from version `from` to [`NEWEST`].
pub(super) fn migrate(config: &mut Table, from: i64) {
    if from < 2 {
        name_plugins(config);
    }
    if from < 4 {
        move_server_settings(config);
        rename_restart_monitor(config);
    }
    config.remove("version");
}

/// Version 1's short plugin names.
const SHORT_NAMES: [(&str, &str); 10] = [
    ("bolt", "io.containerd.metadata.v1.bolt"),
    ("cgroups", "io.containerd.monitor.v1.cgroups"),
    ("linux", "io.containerd.runtime.v1.linux"),
    ("native", "io.containerd.snapshotter.v1.native"),
    ("opt", "io.containerd.internal.v1.opt"),
    ("overlayfs", "io.containerd.snapshotter.v1.overlayfs"),
    ("restart", OLD_RESTART_MONITOR),
    ("scheduler", "io.containerd.gc.v1.scheduler"),
    ("task", "io.containerd.runtime.v2.task"),
    ("tracing", "io.containerd.internal.v1.tracing"),
];

/// A plugin's full id, for a name of version 1.
pub(super) fn full_name(name: &str) -> String {
    if name.contains('.') {
        return name.to_owned();
    }
    if let Some((_, full)) = SHORT_NAMES.iter().find(|(short, _)| *short == name) {
        return (*full).to_owned();
    }
    let kind = match name {
        "aufs" | "btrfs" | "devmapper" | "zfs" => "snapshotter",
        _ if name.ends_with("-service") => "service",
        _ => "grpc",
    };
    format!("io.containerd.{kind}.v1.{name}")
}

fn name_plugins(config: &mut Table) {
    if let Some(Value::Table(plugins)) = config.get_mut("plugins") {
        *plugins = std::mem::take(plugins).into_iter().map(|(name, value)| (full_name(&name), value)).collect();
    }
    for list in ["disabled_plugins", "required_plugins"] {
        if let Some(Value::Array(names)) = config.get_mut(list) {
            for name in names {
                if let Value::String(name) = name {
                    *name = full_name(name);
                }
            }
        }
    }
}

/// What a section of version 3 becomes: the old keys with the new.
type Moves = &'static [(&'static str, &'static str)];

const SECTIONS: [(&str, &str, Moves); 6] = [
    ("debug", server::DEBUG, &[("address", "address"), ("uid", "uid"), ("gid", "gid")]),
    (
        "grpc",
        server::GRPC_TCP,
        &[
            ("tcp_address", "address"),
            ("tcp_tls_ca", "tls_ca"),
            ("tcp_tls_cert", "tls_cert"),
            ("tcp_tls_key", "tls_key"),
            ("tcp_tls_common_name", "tls_common_name"),
        ],
    ),
    (
        "grpc",
        server::GRPC,
        &[
            ("address", "address"),
            ("uid", "uid"),
            ("gid", "gid"),
            ("max_recv_message_size", "max_recv_message_size"),
            ("max_send_message_size", "max_send_message_size"),
        ],
    ),
    ("ttrpc", server::TTRPC, &[("address", "address"), ("uid", "uid"), ("gid", "gid")]),
    ("metrics", server::METRICS, &[("address", "address")]),
    ("metrics", server::GRPC_PROMETHEUS, &[("grpc_histogram", "grpc_histogram")]),
];

/// The restart monitor's id before it got a type of its own; a section under the new one wins.
fn rename_restart_monitor(config: &mut Table) {
    let Some(Value::Table(plugins)) = config.get_mut("plugins") else { return };
    if let Some(section) = plugins.remove(OLD_RESTART_MONITOR) {
        plugins.entry(super::RESTART_MONITOR).or_insert(section);
    }
}

/// Moves the server's settings under `plugins`; a section already there wins, and a zero
/// or empty value means "not set", as it did in version 3.
fn move_server_settings(config: &mut Table) {
    for (section, id, moves) in SECTIONS {
        let Some(Value::Table(old)) = config.get_mut(section) else { continue };
        let mut moved = Table::new();
        for (from, to) in moves {
            if let Some(value) = old.remove(*from).filter(|value| !is_zero(value)) {
                moved.insert((*to).to_owned(), value);
            }
        }
        let emptied = old.is_empty();
        if emptied {
            config.remove(section);
        }
        let plugins = config.entry("plugins").or_insert_with(|| Value::Table(Table::new()));
        if let Some(plugins) = plugins.as_table_mut().filter(|_| !moved.is_empty()) {
            plugins.entry(id).or_insert(Value::Table(moved));
        }
    }
}

/// Go's zero value of the type.
pub(super) fn is_zero(value: &Value) -> bool {
    match value {
        Value::String(text) => text.is_empty(),
        Value::Integer(number) => *number == 0,
        Value::Float(number) => *number == 0.0,
        Value::Boolean(truth) => !truth,
        Value::Array(array) => array.is_empty(),
        Value::Table(table) => table.is_empty(),
        Value::Datetime(_) => false,
    }
}

/// The reverse of the last step, to print a configuration that version 3 readers (up to
/// containerd 2.2) accept.
pub(super) fn to_version_3(config: &mut Table) {
    for (section, id, moves) in SECTIONS {
        let Some(Value::Table(plugins)) = config.get_mut("plugins") else { continue };
        let Some(Value::Table(mut plugin)) = plugins.remove(id) else { continue };
        let old = config.entry(section).or_insert_with(|| Value::Table(Table::new()));
        let Some(old) = old.as_table_mut() else { continue };
        for (from, to) in moves {
            if let Some(value) = plugin.remove(*to) {
                old.insert((*from).to_owned(), value);
            }
        }
    }
}
