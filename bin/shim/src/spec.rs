//! The few fields of a bundle's `config.json` a shim needs. The rest is runc's business.

use model::{Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::path::Path;

/// Annotations that put containers under one shim, the first that is there counts.
const GROUPS: [&str; 2] = ["io.containerd.runc.v2.group", "io.kubernetes.cri.sandbox-id"];

/// A shallow OCI runtime spec.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Spec {
    #[serde(default)]
    annotations: Option<HashMap<String, String>>,
    #[serde(default)]
    linux: Option<Linux>,
}

#[derive(Debug, Default, Deserialize)]
struct Linux {
    #[serde(default)]
    namespaces: Option<Vec<Namespace>>,
}

#[derive(Debug, Deserialize)]
struct Namespace {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default)]
    path: String,
}

impl Spec {
    /// Reads the spec of `bundle`.
    pub(crate) fn load(bundle: &Path) -> Result<Self> {
        let path = bundle.join("config.json");
        let json = std::fs::read(&path).map_err(|error| Error::io(format!("open {}", path.display()), error))?;
        Self::parse(&json).map_err(|error| Error::invalid_argument(format!("spec {}", path.display())).caused_by(error))
    }

    fn parse(json: &[u8]) -> serde_json::Result<Self> {
        serde_json::from_slice(json)
    }

    /// The name of the group the container belongs to, if any.
    pub(crate) fn group(&self) -> Option<&str> {
        let annotations = self.annotations.as_ref()?;
        GROUPS.iter().find_map(|name| annotations.get(*name)).map(String::as_str)
    }

    /// Whether the kernel ends all processes of the container with its first one, which it
    /// does only in a pid namespace of the container's own.
    pub(crate) fn has_own_pid_namespace(&self) -> bool {
        let namespaces = self.linux.as_ref().and_then(|linux| linux.namespaces.as_deref()).unwrap_or_default();
        namespaces.iter().any(|namespace| namespace.kind == "pid" && namespace.path.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_in_order_of_preference() {
        let spec = |json: &str| Spec::parse(json.as_bytes()).unwrap();
        assert_eq!(spec("{}").group(), None);
        assert_eq!(spec(r#"{"annotations":null}"#).group(), None);
        let pod = r#"{"annotations":{"io.kubernetes.cri.sandbox-id":"pod","io.containerd.runc.v2.group":"g"}}"#;
        assert_eq!(spec(pod).group(), Some("g"));
    }

    #[test]
    fn pid_namespaces() {
        let spec = |json: &str| Spec::parse(json.as_bytes()).unwrap();
        assert!(spec(r#"{"linux":{"namespaces":[{"type":"pid"},{"type":"mount"}]}}"#).has_own_pid_namespace());
        assert!(!spec(r#"{"linux":{"namespaces":[{"type":"pid","path":"/proc/1/ns/pid"}]}}"#).has_own_pid_namespace());
        assert!(!spec(r#"{"linux":{"namespaces":null}}"#).has_own_pid_namespace());
        assert!(Spec::parse(b"not json").is_err());
    }
}
