//! Namespaces: the tenant every object belongs to.

use crate::{Result, validate_identifier};
use std::fmt;

/// A validated namespace name.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Namespace(String);

impl Namespace {
    /// Checks `name` against the rule for identifiers.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        validate_identifier(&name).map_err(|error| error.context("namespace validation"))?;
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

/// A namespace's metadata. Its name is not validated: containerd answers for any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct NamespaceInfo {
    /// The name.
    pub name: String,
    /// Free labels; `containerd.io/namespace.shareable` and `containerd.io/defaults/*` have meaning.
    pub labels: crate::Labels,
}
