//! The sections about images on their way.

use super::one_duration;
use serde::Deserialize;
use std::{path::PathBuf, time::Duration};

/// The full id of the verifiers.
pub(crate) const VERIFIERS: &str = "io.containerd.image-verifier.v1.bindir";

/// How images are pulled and pushed.
#[derive(Debug, Deserialize)]
pub(crate) struct Transfer {
    /// Blobs fetched at a time; 0: any number.
    pub(crate) max_concurrent_downloads: usize,
    /// Bytes of the ranges in which one layer is fetched; 0: chosen by us.
    pub(crate) concurrent_layer_fetch_buffer: usize,
    /// Blobs pushed at a time; 0: any number.
    pub(crate) max_concurrent_uploaded_layers: usize,
    /// Layers unpacked at a time.
    pub(crate) max_concurrent_unpacks: usize,
    /// Whether images for other architectures are left packed.
    pub(crate) check_platform_supported: bool,
    /// Folders of `hosts.toml` files, joined by colons.
    pub(crate) config_path: String,
    /// Where images may be unpacked; not given: into every snapshotter, overlayfs being the default.
    #[serde(default)]
    pub(crate) unpack_config: Option<Vec<UnpackConfig>>,
}

/// A snapshotter that images may be unpacked into.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct UnpackConfig {
    pub(crate) platform: String,
    #[serde(default)]
    pub(crate) snapshotter: String,
    #[serde(default)]
    pub(crate) differ: String,
    /// The configurations that it is for; empty: those of images.
    #[serde(default)]
    pub(crate) config_type: String,
    /// What counts as a layer beside those of images.
    #[serde(default)]
    pub(crate) layer_types: Vec<String>,
    /// Whether it is left out when the snapshotter is not there.
    #[serde(default)]
    pub(crate) optional: bool,
}

/// Programs asked before an image is pulled.
#[derive(Debug, Deserialize)]
pub(crate) struct ImageVerifier {
    pub(crate) bin_dir: PathBuf,
    /// Most of them; negative: all.
    pub(crate) max_verifiers: i64,
    #[serde(deserialize_with = "one_duration")]
    pub(crate) per_verifier_timeout: Duration,
}
