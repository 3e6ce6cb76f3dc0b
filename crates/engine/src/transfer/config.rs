//! What an embedder may set about transfers: containerd's `io.containerd.transfer.v1.local`.

use super::{Unpack, Verifiers};
use client::oci::{Image, Platform};
use model::{Error, Result};
use std::{path::PathBuf, sync::Arc};
use store::layers::StreamProcessor;

/// The settings of transfers.
#[derive(Clone, Debug)]
pub struct TransferConfig {
    /// Most blobs fetched at once; 0: no limit.
    pub max_concurrent_downloads: usize,
    /// Most blobs pushed at once; 0: no limit.
    pub max_concurrent_uploads: usize,
    /// Most layers unpacked at once; 0 or 1, containerd's default: as many as there are processors.
    pub max_concurrent_unpacks: usize,
    /// The size in bytes of the ranges in which one layer is fetched over several requests; 0: chosen by us.
    pub layer_fetch_buffer: usize,
    /// Whether an image for another architecture than a target's is not unpacked into it.
    pub check_platform: bool,
    /// Where images may be unpacked, the preferred first.
    pub unpack: Vec<UnpackTarget>,
    /// Folders of `hosts.toml` files, for requests that name none.
    pub hosts_dirs: Vec<PathBuf>,
    /// The snapshotter that clients mean who name none.
    pub default_snapshotter: String,
    /// Programs that read layers of other media types, such as encrypted ones.
    pub processors: Arc<[StreamProcessor]>,
    /// Whether a layer's whole file system is synced once it is unpacked.
    pub sync_fs: bool,
    /// Who is asked before an image is pulled.
    pub verifiers: Option<Verifiers>,
}

/// A snapshotter that images of a platform may be unpacked into.
#[derive(Clone, Debug, PartialEq)]
pub struct UnpackTarget {
    /// The platform of the images.
    pub platform: Platform,
    /// The snapshotter.
    pub snapshotter: String,
}

impl Default for TransferConfig {
    /// containerd's.
    fn default() -> Self {
        Self {
            max_concurrent_downloads: 3,
            max_concurrent_uploads: 3,
            max_concurrent_unpacks: 1,
            layer_fetch_buffer: 0,
            check_platform: false,
            unpack: vec![UnpackTarget { platform: Platform::host(), snapshotter: "overlayfs".to_owned() }],
            hosts_dirs: Vec::new(),
            default_snapshotter: "overlayfs".to_owned(),
            processors: Arc::default(),
            sync_fs: false,
            verifiers: None,
        }
    }
}

impl TransferConfig {
    /// Where `wish` is carried out; nowhere if nothing fits, and containerd unpacks nothing then.
    pub fn target(&self, wish: &Unpack) -> Option<&UnpackTarget> {
        let fits = |target: &&UnpackTarget| self.fits(target, &wish.platform);
        if !wish.snapshotter.is_empty() {
            return self.unpack.iter().filter(fits).find(|target| target.snapshotter == wish.snapshotter);
        }
        let default = |target: &&UnpackTarget| target.snapshotter == self.default_snapshotter;
        self.unpack.iter().filter(fits).find(default).or_else(|| self.unpack.iter().find(fits))
    }

    /// Checks that one of `wishes` can be carried out, if there are any.
    ///
    /// # Errors
    /// `InvalidArgument`, naming them.
    pub fn check_wishes(&self, wishes: &[Unpack]) -> Result<()> {
        if wishes.is_empty() || wishes.iter().any(|wish| self.target(wish).is_some()) {
            return Ok(());
        }
        let named = wishes.iter().map(|wish| format!("{:?} for {}", wish.snapshotter, wish.platform));
        let named = named.collect::<Vec<_>>().join(", ");
        Err(Error::invalid_argument(format!("no unpack platforms defined for snapshotter {named}")))
    }

    /// Where `image` is to be unpacked as `wishes` say, if anywhere.
    pub fn target_of(&self, wishes: &[Unpack], image: &Image) -> Option<&UnpackTarget> {
        if !matches!(image.rootfs.kind.as_str(), "" | "layers") {
            return None;
        }
        let wished = wishes.iter().filter_map(|wish| {
            let target = self.target(wish);
            if target.is_none() {
                let (platform, snapshotter) = (wish.platform.to_string(), &wish.snapshotter);
                tracing::warn!(platform, snapshotter, "unpack configuration not supported, skipping");
            }
            target
        });
        let mut fitting = wished.filter(|target| self.fits(target, &image.platform));
        fitting.next()
    }

    /// Whether `target` takes images for `platform`.
    fn fits(&self, target: &UnpackTarget, platform: &Platform) -> bool {
        let ours = target.platform.normalized();
        if self.check_platform { ours.rank(platform).is_some() } else { ours.os == platform.normalized().os }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wish_is_carried_out_where_it_fits() {
        let target = |platform, snapshotter: &str| UnpackTarget {
            platform: Platform::parse(platform).unwrap(),
            snapshotter: snapshotter.to_owned(),
        };
        let unpack = vec![target("linux/amd64", "native"), target("linux/amd64", "overlayfs")];
        let mut config = TransferConfig { unpack, ..TransferConfig::default() };
        let wish = |platform, snapshotter: &str| Unpack {
            platform: Platform::parse(platform).unwrap(),
            snapshotter: snapshotter.to_owned(),
        };
        let found = |config: &TransferConfig, wish| config.target(&wish).map(|target| target.snapshotter.clone());
        assert_eq!(found(&config, wish("linux/amd64", "")).as_deref(), Some("overlayfs"));
        assert_eq!(found(&config, wish("linux/amd64", "native")).as_deref(), Some("native"));
        assert_eq!(found(&config, wish("linux/amd64", "btrfs")), None);
        assert_eq!(found(&config, wish("windows/amd64", "")), None);
        assert_eq!(found(&config, wish("linux/arm64", "")).as_deref(), Some("overlayfs"));
        config.check_platform = true;
        assert_eq!(found(&config, wish("linux/arm64", "")), None);
    }
}
