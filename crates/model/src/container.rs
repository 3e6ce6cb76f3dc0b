//! Container records: metadata only, a task is something else.

use crate::{Any, Labels, Timestamp};
use std::collections::BTreeMap;

/// A container's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Container {
    /// Unique in its namespace.
    pub id: String,
    /// Free labels.
    pub labels: Labels,
    /// Name of the image it was made from, if any.
    pub image: String,
    /// The runtime that runs it.
    pub runtime: Runtime,
    /// The OCI runtime spec, usually JSON.
    pub spec: Option<Any>,
    /// Name of the snapshotter that holds its root filesystem.
    pub snapshotter: String,
    /// Key of its root filesystem in that snapshotter.
    pub snapshot_key: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Clients' own data by name.
    pub extensions: BTreeMap<String, Any>,
    /// The sandbox (pod) it belongs to, or empty.
    pub sandbox: String,
}

/// Which shim runs a container and how.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Runtime {
    /// Name (`io.containerd.runc.v2`) or absolute path of the shim.
    pub name: String,
    /// The shim's own options.
    pub options: Option<Any>,
}
