//! Snapshots: layered file systems.

use crate::{Labels, Timestamp};

/// What can be done with a snapshot.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SnapshotKind {
    /// Read-only mounts of a committed one.
    View,
    /// Writable, to be committed or removed.
    Active,
    /// Immutable; parent of others.
    Committed,
}

/// A snapshot's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotInfo {
    /// What can be done with it.
    pub kind: SnapshotKind,
    /// Key (active, view) or name (committed), unique in namespace and snapshotter.
    pub name: String,
    /// Name of its parent, or empty.
    pub parent: String,
    /// Free labels.
    pub labels: Labels,
    /// When it was prepared or committed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What a snapshot alone takes on disk, without its parents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Number of inodes.
    pub inodes: u64,
    /// Bytes on disk.
    pub size: u64,
}
