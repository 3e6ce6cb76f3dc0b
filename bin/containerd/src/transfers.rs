//! Transfers as the configuration asks for them.

use crate::{
    config::{Config, UnpackConfig, VERIFIERS},
    snapshotters::Snapshotters,
};
use engine::transfer::{Platform, TransferConfig, UnpackTarget, Verifiers};
use model::{Error, Result};
use std::{env, sync::Arc};
use store::layers::StreamProcessor;

/// The settings of transfers.
///
/// # Errors
/// `InvalidArgument` for a platform that is none; `Unimplemented` for types of other things than images; `NotFound` for a
/// snapshotter that is not there and not optional.
pub(crate) fn settings(
    config: &Config,
    snapshotters: &Snapshotters,
    processors: Arc<[StreamProcessor]>,
) -> Result<TransferConfig> {
    let section = &config.plugins.transfer;
    let verifier = &config.plugins.image_verifier;
    let defaults = TransferConfig::default();
    Ok(TransferConfig {
        max_concurrent_downloads: section.max_concurrent_downloads,
        max_concurrent_uploads: section.max_concurrent_uploaded_layers,
        max_concurrent_unpacks: section.max_concurrent_unpacks,
        layer_fetch_buffer: section.concurrent_layer_fetch_buffer,
        check_platform: section.check_platform_supported,
        unpack: match &section.unpack_config {
            Some(configured) => targets(configured, snapshotters)?,
            None => every_snapshotter(&defaults.default_snapshotter, snapshotters),
        },
        hosts_dirs: env::split_paths(&section.config_path).filter(|dir| !dir.as_os_str().is_empty()).collect(),
        processors,
        sync_fs: config.plugins.diff.sync_fs,
        verifiers: (!config.is_disabled(VERIFIERS)).then(|| Verifiers {
            bin_dir: verifier.bin_dir.clone(),
            max: verifier.max_verifiers,
            timeout: verifier.per_verifier_timeout,
        }),
        ..defaults
    })
}

fn targets(configured: &[UnpackConfig], snapshotters: &Snapshotters) -> Result<Vec<UnpackTarget>> {
    let mut targets = Vec::new();
    for entry in configured {
        let UnpackConfig { platform, snapshotter, differ, config_type, layer_types, optional } = entry;
        let what = || format!("io.containerd.transfer.v1.local: unpack_config of {platform:?}");
        let platform = Platform::parse(platform).map_err(|error| error.context(what()))?;
        let ready = snapshotters.ready.iter().any(|(name, _)| name == snapshotter);
        let missing = if !ready {
            Error::not_found(format!("snapshotter {snapshotter:?} not found"))
        } else if !matches!(differ.as_str(), "" | "walking") {
            Error::not_found(format!("differ {differ:?} not found"))
        } else if !config_type.is_empty() || !layer_types.is_empty() {
            // Unpacked as images, their layers would not be what the entry means.
            Error::unimplemented("config_type and layer_types are not supported: only images are unpacked")
        } else {
            targets.push(UnpackTarget { platform, snapshotter: snapshotter.clone() });
            continue;
        };
        if !optional {
            return Err(missing.context(what()));
        }
        tracing::debug!(%missing, "leaving out an optional unpack_config");
    }
    Ok(targets)
}

/// The default one first.
fn every_snapshotter(default: &str, snapshotters: &Snapshotters) -> Vec<UnpackTarget> {
    let mut names: Vec<&String> = snapshotters.ready.iter().map(|(name, _)| name).collect();
    names.sort_by_key(|name| *name != default);
    let target = |name: &String| UnpackTarget { platform: Platform::host(), snapshotter: name.clone() };
    names.into_iter().map(target).collect()
}
