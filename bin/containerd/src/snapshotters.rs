//! The snapshotters that the configuration asks for.

use crate::config::{Config, ProxyPlugin};
use engine::{RemoteConfig, RemoteSnapshotter};
use model::{Error, Result};
use std::{
    path::{Path, PathBuf},
    sync::Arc,
};
use store::snapshot::{Capability, Driver, Native, Overlay, overlay};

const TYPE: &str = "io.containerd.snapshotter.v1";

/// Those that work, by name, and those that do not, with the reason.
#[derive(Debug, Default)]
pub(crate) struct Snapshotters {
    pub(crate) ready: Vec<(String, Arc<dyn Driver>)>,
    pub(crate) refused: Vec<(String, Error)>,
}

impl Snapshotters {
    /// Opens the built-in ones and connects the proxies.
    pub(crate) fn open(config: &Config) -> Self {
        let mut all = Self::default();
        all.add(config, "native", |root| Ok(Arc::new(Native::open(root)?)));
        all.add(config, "overlayfs", |root| {
            let options = &config.plugins.overlayfs;
            let options = overlay::Config {
                upperdir_label: options.upperdir_label,
                sync_remove: options.sync_remove,
                slow_chown: options.slow_chown,
                mount_options: options.mount_options.clone(),
            };
            Ok(Arc::new(Overlay::open(root, options)?))
        });
        for (name, proxy) in &config.proxy_plugins {
            if proxy.is_snapshotter() {
                all.add(config, name, |_| Ok(Arc::new(connect(name, proxy)?)));
            }
        }
        all
    }

    fn add(&mut self, config: &Config, name: &str, open: impl FnOnce(&Path) -> Result<Arc<dyn Driver>>) {
        let id = format!("{TYPE}.{name}");
        if config.is_disabled(&id) {
            return;
        }
        // A proxy takes the place of a built-in snapshotter: the one added last counts.
        self.ready.retain(|(known, _)| known != name);
        match open(&root_of(config, name)) {
            Ok(driver) => self.ready.push((name.to_owned(), driver)),
            Err(error) => {
                tracing::warn!(%error, id, "failed to load plugin");
                self.refused.push((name.to_owned(), error));
            }
        }
    }
}

/// A snapshotter in another process. It need not be there yet.
fn connect(name: &str, proxy: &ProxyPlugin) -> Result<RemoteSnapshotter> {
    const KNOWN: [Capability; 3] = [Capability::RemapIds, Capability::OnlyRemapIds, Capability::Rebase];
    for capability in &proxy.capabilities {
        if !KNOWN.iter().any(|known| known.as_str() == capability) {
            tracing::warn!(plugin = name, capability, "unknown capability of a proxy plugin");
        }
    }
    let has = |known: &Capability| proxy.capabilities.iter().any(|capability| capability == known.as_str());
    let mut remote = RemoteConfig::new(name, &proxy.address);
    remote.capabilities = KNOWN.into_iter().filter(has).collect();
    remote.exports.clone_from(&proxy.exports);
    remote.exports.insert("address".to_owned(), proxy.address.clone());
    RemoteSnapshotter::new(remote)
}

fn root_of(config: &Config, name: &str) -> PathBuf {
    let configured = match name {
        "native" => &config.plugins.native.root_path,
        _ => &config.plugins.overlayfs.root_path,
    };
    if configured.is_empty() { config.root.join(format!("{TYPE}.{name}")) } else { PathBuf::from(configured) }
}
