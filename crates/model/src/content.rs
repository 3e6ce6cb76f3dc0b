//! Content: immutable blobs, and ingests that become blobs.

use crate::{Digest, Labels, Timestamp};

/// A blob's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct BlobInfo {
    /// What the blob is known by.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
    /// When it was committed.
    pub created_at: Timestamp,
    /// When its labels last changed.
    pub updated_at: Timestamp,
    /// Free labels; `containerd.io/gc.*` steer garbage collection.
    pub labels: Labels,
}

/// The state of an ingest in progress.
#[derive(Clone, Debug, PartialEq)]
pub struct IngestStatus {
    /// The client's name for it, unique in its namespace.
    pub reference: String,
    /// Bytes written so far.
    pub offset: u64,
    /// Bytes expected, or 0 if unknown.
    pub total: u64,
    /// The digest expected, if the client said.
    pub expected: Option<Digest>,
    /// When it was begun.
    pub started_at: Timestamp,
    /// When it last grew.
    pub updated_at: Timestamp,
}
