//! Image records: a name for a descriptor.

use crate::{Digest, Labels, Timestamp};
use std::collections::BTreeMap;

/// What a name points to (OCI image spec, descriptor.md).
#[derive(Clone, Debug, PartialEq)]
pub struct Descriptor {
    /// Media type of the content.
    pub media_type: String,
    /// Digest of the content.
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Free annotations.
    pub annotations: BTreeMap<String, String>,
}

/// A named image.
#[derive(Clone, Debug, PartialEq)]
pub struct Image {
    /// Opaque: usually a reference, but CRI also stores bare digests.
    pub name: String,
    /// Free labels.
    pub labels: Labels,
    /// The index or manifest.
    pub target: Descriptor,
    /// When the name was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}
