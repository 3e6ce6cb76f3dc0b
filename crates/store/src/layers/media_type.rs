//! Which media types are layers, and whether what they name may be compressed (containerd's `images.DiffCompression`).

/// An uncompressed layer.
pub const TAR: &str = "application/vnd.oci.image.layer.v1.tar";
/// A layer compressed with gzip.
pub const TAR_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
/// A layer compressed with zstd.
pub const TAR_ZSTD: &str = "application/vnd.oci.image.layer.v1.tar+zstd";

const TAR_FOREIGN: &str = "application/vnd.oci.image.layer.nondistributable.v1.tar";
const DOCKER_TAR: &str = "application/vnd.docker.image.rootfs.diff.tar";
const DOCKER_FOREIGN: &str = "application/vnd.docker.image.rootfs.foreign.diff.tar";

/// What a layer's bytes are compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Nothing.
    None,
    /// gzip, zstd or nothing: the first bytes tell. Docker's media types, and in practice OCI's too, are not to be
    /// trusted about which.
    Detect,
}

impl Compression {
    /// How a blob of `media_type` is compressed, or `None` if that is not a layer a tar reader understands.
    pub fn of(media_type: &str) -> Option<Self> {
        let (base, suffix) = match media_type.split_once('+') {
            // Its bytes would be taken for a broken archive.
            Some((_, suffixes)) if suffixes.split('+').any(|suffix| suffix == "encrypted") => return None,
            // Go sorts the suffixes and takes the last.
            Some((base, suffixes)) => (base, suffixes.split('+').max()),
            None => (media_type, None),
        };
        let docker = match base {
            TAR | TAR_FOREIGN => {
                let compressed = matches!(suffix, Some("gzip" | "zstd"));
                return Some(if compressed { Self::Detect } else { Self::None });
            }
            DOCKER_TAR | DOCKER_FOREIGN => true,
            _ => {
                let (tar, extension) = base.rsplit_once('.')?;
                (tar == DOCKER_TAR && matches!(extension, "gzip" | "zstd"))
                    || (tar == DOCKER_FOREIGN && extension == "gzip")
            }
        };
        // Docker's types have no suffixes of their own: one says that the stream is wrapped in something else.
        docker.then_some(if suffix.is_none() { Self::Detect } else { Self::None })
    }
}

/// What a layer we write is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compressed {
    None,
    Gzip,
    Zstd,
}

impl Compressed {
    /// How to write `media_type`, if that is one of those we write.
    pub(super) fn of(media_type: &str) -> Option<Self> {
        match media_type {
            TAR => Some(Self::None),
            TAR_GZIP => Some(Self::Gzip),
            TAR_ZSTD => Some(Self::Zstd),
            _ => None,
        }
    }
}

/// Whether `media_type` is some kind of layer, be it one that only a stream processor can read.
pub fn is_layer(media_type: &str) -> bool {
    let base = media_type.split('+').next().unwrap_or_default();
    base.starts_with("application/vnd.oci.image.layer.")
        || base == "application/vnd.erofs.layer.v1"
        || matches!(base.strip_prefix(DOCKER_TAR), Some("" | ".gzip" | ".zstd"))
        || matches!(base.strip_prefix(DOCKER_FOREIGN), Some("" | ".gzip"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn compression_follows_the_media_type() {
        for (media_type, expected) in [
            (TAR, Some(Compression::None)),
            (TAR_GZIP, Some(Compression::Detect)),
            (TAR_ZSTD, Some(Compression::Detect)),
            ("application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", Some(Compression::Detect)),
            ("application/vnd.oci.image.layer.v1.tar+encrypted", None),
            ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", None),
            ("application/vnd.oci.image.layer.v1.tar+gzip+a", Some(Compression::Detect)),
            (DOCKER_TAR, Some(Compression::Detect)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip", Some(Compression::Detect)),
            ("application/vnd.docker.image.rootfs.diff.tar.zstd", Some(Compression::Detect)),
            ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", Some(Compression::Detect)),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted", None),
            ("application/vnd.docker.image.rootfs.diff.tar.gzip+other", Some(Compression::None)),
            ("application/vnd.docker.image.rootfs.diff.tar.xz", None),
            ("application/vnd.oci.image.config.v1+json", None),
            ("", None),
        ] {
            assert_eq!(Compression::of(media_type), expected, "{media_type}");
        }
    }

    #[test]
    fn layers_are_told_from_the_rest() {
        for layer in [TAR, TAR_GZIP, "application/vnd.docker.image.rootfs.diff.tar.gzip+encrypted"] {
            assert!(is_layer(layer), "{layer}");
        }
        for other in ["application/vnd.oci.image.manifest.v1+json", "application/vnd.docker.image.rootfs.diff.tarot"] {
            assert!(!is_layer(other), "{other}");
        }
    }
}
