//! On whose behalf a request acts: read once from its headers, then passed by hand.

use crate::Namespace;

/// A request's namespace and lease.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Where the objects named live.
    pub namespace: Namespace,
    /// The lease that new objects are added to, in the transaction that creates them.
    pub lease: Option<String>,
}

impl Scope {
    /// A scope without a lease.
    pub fn new(namespace: Namespace) -> Self {
        Self { namespace, lease: None }
    }
}
