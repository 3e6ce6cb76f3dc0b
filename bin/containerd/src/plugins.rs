//! What we are made of, under containerd's plugin types and ids.
//!
//! There is no plugin registry here; this is a description for clients, which look for a
//! snapshotter's name, a capability or an export before they use it.

use crate::{
    config::{Config, RESTART_MONITOR, VERIFIERS},
    snapshotters::Snapshotters,
};
use model::{Error, Labels};
use std::path::Path;
use store::snapshot::Driver;

/// One plugin as introspection reports it.
#[derive(Debug, Default)]
pub(crate) struct Plugin {
    /// containerd's plugin type.
    pub(crate) kind: &'static str,
    pub(crate) id: String,
    pub(crate) requires: &'static [&'static str],
    /// Whether it works on one platform only, ours.
    pub(crate) has_platform: bool,
    pub(crate) exports: Labels,
    pub(crate) capabilities: Vec<String>,
    /// Why it is not in use.
    pub(crate) init_error: Option<Error>,
}

const CONTENT: &str = "io.containerd.content.v1";
const DIFFER: &str = "io.containerd.differ.v1";
const EVENT: &str = "io.containerd.event.v1";
const GC: &str = "io.containerd.gc.v1";
const GRPC: &str = "io.containerd.grpc.v1";
const LEASE: &str = "io.containerd.lease.v1";
const METADATA: &str = "io.containerd.metadata.v1";
const MONITOR: &str = "io.containerd.monitor.container.v1";
const RUNTIME: &str = "io.containerd.runtime.v2";
const SERVICE: &str = "io.containerd.service.v1";
const SHIM: &str = "io.containerd.shim.v1";
const SNAPSHOTTER: &str = "io.containerd.snapshotter.v1";
const STREAMING: &str = "io.containerd.streaming.v1";
const TRANSFER: &str = "io.containerd.transfer.v1";
const VERIFIER: &str = "io.containerd.image-verifier.v1";
const WARNING: &str = "io.containerd.warning.v1";

/// Plugins that say no more than their name, in the order containerd loads them.
const PLAIN: &[(&str, &str, &[&str])] = &[
    (WARNING, "deprecations", &[]),
    (EVENT, "exchange", &[]),
    (LEASE, "manager", &[METADATA, GC]),
    (SERVICE, "containers-service", &[EVENT, METADATA]),
    (SERVICE, "content-service", &[METADATA]),
    (SERVICE, "diff-service", &[DIFFER]),
    (SERVICE, "images-service", &[METADATA, GC, WARNING]),
    (SERVICE, "introspection-service", &[WARNING]),
    (SERVICE, "namespaces-service", &[EVENT, METADATA]),
    (SERVICE, "snapshots-service", &[METADATA]),
    (SHIM, "manager", &[EVENT, METADATA]),
    (SERVICE, "tasks-service", &[EVENT, RUNTIME, METADATA]),
    (STREAMING, "manager", &[METADATA]),
    (TRANSFER, "local", &[LEASE, METADATA, DIFFER, VERIFIER, SNAPSHOTTER]),
    (GRPC, "containers", &[SERVICE]),
    (GRPC, "content", &[SERVICE]),
    (GRPC, "diff", &[SERVICE]),
    (GRPC, "events", &[EVENT]),
    (GRPC, "healthcheck", &[]),
    (GRPC, "images", &[SERVICE]),
    (GRPC, "introspection", &[SERVICE]),
    (GRPC, "leases", &[LEASE]),
    (GRPC, "namespaces", &[SERVICE]),
    (GRPC, "snapshots", &[SERVICE]),
    (GRPC, "streaming", &[STREAMING]),
    (GRPC, "tasks", &[SERVICE]),
    (GRPC, "transfer", &[TRANSFER, STREAMING]),
    (GRPC, "version", &[]),
];

/// Describes what `config` has made: these `snapshotters`, and those `refused` with their reason.
pub(crate) fn describe(config: &Config, snapshotters: &Snapshotters) -> Vec<Plugin> {
    let mut plugins = vec![Plugin {
        kind: CONTENT,
        id: "content".into(),
        exports: export("root", &config.root.join("io.containerd.content.v1.content")),
        ..Plugin::default()
    }];
    plugins.extend(snapshotters.ready.iter().map(|(name, driver)| {
        let mut plugin = snapshotter(name, driver.as_ref());
        // A proxy may have capabilities that mean something to its clients only.
        if let Some(proxy) = config.proxy_plugins.get(name) {
            plugin.capabilities.clone_from(&proxy.capabilities);
        }
        plugin
    }));
    plugins.extend(snapshotters.refused.iter().map(|(id, error)| Plugin {
        kind: SNAPSHOTTER,
        id: id.clone(),
        has_platform: true,
        init_error: Some(Error::new(error.kind(), error.to_string())),
        ..Plugin::default()
    }));
    plugins.push(metadata(config));
    plugins.push(scheduler(config));
    plugins.push(Plugin {
        kind: DIFFER,
        id: "walking".into(),
        requires: &[METADATA],
        has_platform: true,
        ..Plugin::default()
    });
    plugins.push(Plugin {
        kind: RUNTIME,
        id: "task".into(),
        requires: &[SHIM],
        has_platform: true,
        ..Plugin::default()
    });
    plugins.extend(PLAIN.iter().map(|&(kind, id, requires)| Plugin {
        kind,
        id: id.into(),
        requires,
        ..Plugin::default()
    }));
    if !config.is_disabled(VERIFIERS) {
        plugins.push(Plugin { kind: VERIFIER, id: "bindir".into(), ..Plugin::default() });
    }
    if !config.is_disabled(RESTART_MONITOR) {
        plugins.push(Plugin {
            kind: MONITOR,
            id: "restart".into(),
            requires: &[EVENT, SERVICE],
            capabilities: ["no", "always", "on-failure", "unless-stopped"].map(str::to_owned).into(),
            ..Plugin::default()
        });
    }
    plugins
}

fn export(key: &str, path: &Path) -> Labels {
    [(key.to_owned(), path.display().to_string())].into()
}

fn metadata(config: &Config) -> Plugin {
    let policy = format!("{:?}", config.plugins.metadata.content_sharing_policy).to_lowercase();
    let mut exports = export("path", &config.root.join("io.containerd.metadata.v1.bolt"));
    exports.insert("policy".into(), policy);
    Plugin { kind: METADATA, id: "bolt".into(), requires: &[CONTENT, EVENT, SNAPSHOTTER], exports, ..Plugin::default() }
}

fn scheduler(config: &Config) -> Plugin {
    let gc = &config.plugins.gc;
    let exports = [
        ("PauseThreshold", gc.pause_threshold.to_string()),
        ("DeletionThreshold", gc.deletion_threshold.to_string()),
        ("MutationThreshold", gc.mutation_threshold.to_string()),
        ("ScheduleDelay", format!("{}s", gc.schedule_delay.as_secs_f64())),
    ];
    let exports = exports.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Plugin { kind: GC, id: "scheduler".into(), requires: &[METADATA], exports, ..Plugin::default() }
}

fn snapshotter(name: &str, driver: &dyn Driver) -> Plugin {
    Plugin {
        kind: SNAPSHOTTER,
        id: name.to_owned(),
        has_platform: true,
        exports: driver.exports(),
        capabilities: driver.capabilities().iter().map(|capability| capability.as_str().to_owned()).collect(),
        ..Plugin::default()
    }
}
