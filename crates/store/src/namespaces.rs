//! Namespaces: tenants. The first object written to one creates it.

use crate::Store;
use model::{Error, FieldMask, NamespaceInfo, Result};

impl Store {
    /// The namespace `name`; one that does not exist has no labels (as in containerd, not `NotFound`).
    pub fn get_namespace(&self, name: &str) -> Result<NamespaceInfo> {
        let _ = name;
        Err(Error::unimplemented("pending"))
    }

    /// All namespaces by name.
    pub fn list_namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        Err(Error::unimplemented("pending"))
    }

    /// Creates a namespace. `AlreadyExists` also if an object created it.
    pub fn create_namespace(&self, info: NamespaceInfo) -> Result<NamespaceInfo> {
        let _ = info;
        Err(Error::unimplemented("pending"))
    }

    /// Replaces the labels, or those `labels.<key>` that `mask` names.
    pub fn update_namespace(&self, info: NamespaceInfo, mask: &FieldMask) -> Result<NamespaceInfo> {
        let _ = (info, mask);
        Err(Error::unimplemented("pending"))
    }

    /// Deletes an empty namespace; `FailedPrecondition` says what a non-empty one still has.
    pub fn delete_namespace(&self, name: &str) -> Result<()> {
        let _ = name;
        Err(Error::unimplemented("pending"))
    }
}
