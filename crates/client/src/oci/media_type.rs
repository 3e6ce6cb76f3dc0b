//! What a media type says about a document.

use super::Descriptor;

/// The image spec's name of an image in an index's entry, often only a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Names of media types.
pub mod media_types {
    /// A list of manifests.
    pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
    /// An image for one platform.
    pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
    /// An image's configuration.
    pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
    /// A layer as gzip.
    pub const LAYER_GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    /// Docker's list of manifests.
    pub const DOCKER_LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    /// Docker's manifest.
    pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
    /// Docker's configuration.
    pub const DOCKER_CONFIG: &str = "application/vnd.docker.container.image.v1+json";
    /// What some old clients of registries call a configuration (distribution#1622).
    pub const LEGACY_CONFIG: &str = "application/octet-stream";
    /// Docker's layer, uncompressed.
    pub const DOCKER_LAYER: &str = "application/vnd.docker.image.rootfs.diff.tar";
    /// Docker's layer as gzip (and, in containerd's use, any compression).
    pub const DOCKER_LAYER_GZIP: &str = "application/vnd.docker.image.rootfs.diff.tar.gzip";
    /// An attestation.
    pub const IN_TOTO: &str = "application/vnd.in-toto+json";
    /// CRIU's configuration of a checkpoint.
    pub const CHECKPOINT_CONFIG: &str = "application/vnd.containerd.container.checkpoint.config.v1+proto";
}

/// The role of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Lists manifests.
    Index,
    /// Lists a config and layers.
    Manifest,
    /// An image's configuration.
    Config,
    /// Part of a root filesystem.
    Layer,
    /// Anything else: kept, never looked into.
    Other,
}

impl Kind {
    /// The role that `media_type` gives.
    pub fn of(media_type: &str) -> Self {
        use media_types::{CHECKPOINT_CONFIG, CONFIG, DOCKER_CONFIG, DOCKER_LIST, DOCKER_MANIFEST, INDEX, MANIFEST};
        match media_type {
            INDEX | DOCKER_LIST => Self::Index,
            MANIFEST | DOCKER_MANIFEST => Self::Manifest,
            CONFIG | DOCKER_CONFIG | CHECKPOINT_CONFIG => Self::Config,
            _ if media_type.starts_with("application/vnd.oci.image.layer.")
                || media_type.starts_with("application/vnd.docker.image.rootfs.") =>
            {
                Self::Layer
            }
            _ => Self::Other,
        }
    }

    /// The label prefix under which a parent's garbage collection label names such a child.
    pub fn gc_label(self) -> &'static str {
        match self {
            Self::Config => "containerd.io/gc.ref.content.config",
            Self::Manifest => "containerd.io/gc.ref.content.m.",
            Self::Layer => "containerd.io/gc.ref.content.l.",
            Self::Index | Self::Other => "containerd.io/gc.ref.content.",
        }
    }
}

/// The name of a blob's ingest, by which containerd's progress events also know it.
pub fn reference_key(descriptor: &Descriptor) -> String {
    let prefix = match Kind::of(&descriptor.media_type) {
        Kind::Index => "index",
        Kind::Manifest => "manifest",
        Kind::Config => "config",
        Kind::Layer => "layer",
        Kind::Other if descriptor.media_type == media_types::IN_TOTO => "attestation",
        Kind::Other => "unknown",
    };
    match descriptor.annotations.get(REF_NAME) {
        Some(name) => format!("{prefix}-{name}@{}", descriptor.digest),
        None => format!("{prefix}-{}", descriptor.digest),
    }
}

/// Whether only its maker may hand a layer out (Windows' base layers).
pub fn is_non_distributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_named_after_its_role() {
        let mut blob = Descriptor { media_type: media_types::LAYER_GZIP.into(), ..Descriptor::default() };
        assert_eq!(reference_key(&blob), format!("layer-{}", blob.digest));
        blob.annotations.insert(REF_NAME.into(), "v1".into());
        blob.media_type = media_types::INDEX.into();
        assert_eq!(reference_key(&blob), format!("index-v1@{}", blob.digest));
    }

    #[test]
    fn layers_are_known_by_their_prefix() {
        assert_eq!(Kind::of("application/vnd.oci.image.layer.v1.tar+zstd"), Kind::Layer);
        assert_eq!(Kind::of(media_types::DOCKER_LAYER_GZIP), Kind::Layer);
        assert_eq!(Kind::of("application/vnd.in-toto+json"), Kind::Other);
        assert_eq!(Kind::of(media_types::DOCKER_LIST), Kind::Index);
    }
}
