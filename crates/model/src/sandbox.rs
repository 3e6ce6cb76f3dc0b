//! Sandbox records: what a sandbox controller (a pod's keeper) is asked to run.

use crate::{Any, Labels, Runtime, Timestamp};
use std::collections::BTreeMap;

/// A sandbox's metadata.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sandbox {
    /// Unique in its namespace.
    pub id: String,
    /// The controller that runs it: `shim`, `podsandbox` or a proxy's name.
    pub sandboxer: String,
    /// Which shim runs it and how.
    pub runtime: Runtime,
    /// What to run; its type is the controller's business.
    pub spec: Option<Any>,
    /// Free labels.
    pub labels: Labels,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// Clients' own data by name.
    pub extensions: BTreeMap<String, Any>,
}
