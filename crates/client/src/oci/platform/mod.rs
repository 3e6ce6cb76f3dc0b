//! Platforms: their specifiers, normal form and which of them a machine can run (containerd's `platforms` package).

mod host;
mod matching;
mod specifier;
mod windows;

use serde::{Deserialize, Serialize};
use std::fmt;

/// What an image runs on.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Platform {
    /// `amd64`, `arm64`, …
    #[serde(default)]
    pub architecture: String,
    /// `linux`, `windows`, …
    #[serde(default)]
    pub os: String,
    /// Version of the operating system (Windows).
    #[serde(rename = "os.version", default, skip_serializing_if = "String::is_empty")]
    pub os_version: String,
    /// Features of the operating system it needs.
    #[serde(rename = "os.features", default, skip_serializing_if = "Vec::is_empty")]
    pub os_features: Vec<String>,
    /// Variant of the architecture (`v7`).
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, host::variant()).normalized()
    }

    /// `os/architecture/variant` as given.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: variant.into(), ..Self::default() }
    }

    /// Go's names, in lower case, without variants that say nothing.
    #[must_use]
    pub fn normalized(&self) -> Self {
        let lower = |text: &str| text.to_lowercase();
        let (architecture, variant) = match (lower(&self.architecture).as_str(), lower(&self.variant).as_str()) {
            ("i386" | "x86", _) => ("386".into(), String::new()),
            ("x86_64" | "x86-64" | "amd64", "v1" | "") => ("amd64".into(), String::new()),
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64".into(), variant.into()),
            ("aarch64" | "arm64", "8" | "v8" | "v8.0" | "") => ("arm64".into(), String::new()),
            ("aarch64" | "arm64", "9" | "9.0" | "v9.0") => ("arm64".into(), "v9".into()),
            ("aarch64", variant) => ("arm64".into(), variant.into()),
            ("armhf", _) | ("arm", "" | "7" | "v7") => ("arm".into(), "v7".into()),
            ("armel", _) => ("arm".into(), "v6".into()),
            ("arm", variant @ ("5" | "6" | "8")) => ("arm".into(), format!("v{variant}")),
            ("powerpc64", variant) if cfg!(target_endian = "little") => ("ppc64le".into(), variant.into()),
            (architecture, variant) => (architecture.to_owned(), variant.to_owned()),
        };
        let os = match lower(&self.os).as_str() {
            "" => std::env::consts::OS.to_owned(),
            "macos" => "darwin".to_owned(),
            os => os.to_owned(),
        };
        let mut os_features = self.os_features.clone();
        os_features.sort_unstable();
        os_features.dedup();
        Self { os, architecture, variant, os_features, os_version: self.os_version.clone() }
    }
}

impl fmt::Display for Platform {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.os.is_empty() {
            return out.write_str("unknown");
        }
        out.write_str(&self.os)?;
        for part in [&self.architecture, &self.variant] {
            if !part.is_empty() {
                write!(out, "/{part}")?;
            }
        }
        Ok(())
    }
}
