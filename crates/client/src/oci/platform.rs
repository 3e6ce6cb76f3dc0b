//! Platforms: parsing, normal form and which of them a machine can run (containerd's `platforms` package).

use model::{Error, Result};
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

/// Architectures a lone word may mean.
const ARCHITECTURES: &[&str] = &[
    "386", "amd64", "arm", "arm64", "loong64", "mips", "mips64", "mips64le", "mipsle", "ppc64", "ppc64le", "riscv64",
    "s390x", "wasm",
];

/// Operating systems a lone word may mean.
const SYSTEMS: &[&str] = &["darwin", "freebsd", "linux", "windows"];

impl Platform {
    /// The platform of this machine.
    pub fn host() -> Self {
        Self::new(std::env::consts::OS, std::env::consts::ARCH, "").normalized()
    }

    /// `os/architecture/variant` as given.
    pub fn new(os: &str, architecture: &str, variant: &str) -> Self {
        Self { os: os.into(), architecture: architecture.into(), variant: variant.into(), ..Self::default() }
    }

    /// Parses `os[/architecture[/variant]]`, or an architecture alone.
    pub fn parse(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid_argument(format!("platform {text:?}: {why}"));
        let parts: Vec<&str> = text.split('/').collect();
        let plain = |part: &&str| {
            part.starts_with(|first: char| first.is_ascii_alphanumeric())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
        };
        if !parts.iter().all(plain) {
            return Err(invalid("its parts are letters, digits, `_`, `.` and `-`"));
        }
        match parts[..] {
            [os] if SYSTEMS.contains(&Self::new(os, "", "").normalized().os.as_str()) => {
                Ok(Self::new(os, std::env::consts::ARCH, "").normalized())
            }
            [architecture] => {
                let platform = Self::new(std::env::consts::OS, architecture, "").normalized();
                if ARCHITECTURES.contains(&platform.architecture.as_str()) {
                    return Ok(platform);
                }
                Err(invalid("unknown operating system or architecture (try linux/amd64)"))
            }
            [os, architecture] => Ok(Self::new(os, architecture, "").normalized()),
            [os, architecture, variant] => Ok(Self::new(os, architecture, variant).normalized()),
            _ => Err(invalid("it has more than three parts")),
        }
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
        Self { os, architecture, variant, ..self.clone() }
    }

    /// How well a machine of this platform runs `image`: 0 is best, `None` not at all.
    ///
    /// Older variants of the same architecture run, and so do their 32-bit relatives, the nearest first.
    pub fn rank(&self, image: &Self) -> Option<usize> {
        let image = image.normalized();
        if image.os != self.os {
            return None;
        }
        self.compatible()
            .iter()
            .position(|(architecture, variant)| *architecture == image.architecture && *variant == image.variant)
    }

    /// Whether an image for `image` is exactly for this platform.
    pub fn equals(&self, image: &Self) -> bool {
        let (own, image) = (self.normalized(), image.normalized());
        (image.os, image.architecture, image.variant) == (own.os, own.architecture, own.variant)
    }

    /// Architectures and variants this platform runs, the best first.
    fn compatible(&self) -> Vec<(String, String)> {
        let pair = |architecture: &str, variant: String| (architecture.to_owned(), variant);
        let version = |default| self.variant.trim_start_matches('v').parse().unwrap_or(default);
        let mut list = vec![(self.architecture.clone(), self.variant.clone())];
        match self.architecture.as_str() {
            "amd64" => {
                list.extend((2..version(1)).rev().map(|level| pair("amd64", format!("v{level}"))));
                list.push(pair("amd64", String::new()));
                list.push(pair("386", String::new()));
            }
            "arm64" => {
                list.push(pair("arm64", String::new()));
                list.extend((5..=8).rev().map(|level| pair("arm", format!("v{level}"))));
            }
            "arm" => list.extend((5..version(7)).rev().map(|level| pair("arm", format!("v{level}")))),
            _ => {}
        }
        list
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_are_parsed_into_their_normal_form() {
        for (text, normal) in [
            ("linux/amd64", "linux/amd64"),
            ("Linux/x86_64", "linux/amd64"),
            ("linux/arm64/v8", "linux/arm64"),
            ("linux/aarch64", "linux/arm64"),
            ("linux/armhf", "linux/arm/v7"),
            ("windows/amd64", "windows/amd64"),
            ("s390x", "linux/s390x"),
        ] {
            assert_eq!(Platform::parse(text).unwrap().to_string(), normal);
        }
        for bad in ["", "*", "linux/*", "a/b/c/d", "vax", "linux//v7", "../x"] {
            assert!(Platform::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_nearest_platform_ranks_first() {
        let host = Platform::parse("linux/amd64/v3").unwrap();
        let rank = |text| host.rank(&Platform::parse(text).unwrap());
        assert!(rank("linux/amd64/v3") < rank("linux/amd64/v2"));
        assert!(rank("linux/amd64/v2") < rank("linux/amd64"));
        assert!(rank("linux/amd64") < rank("linux/386"));
        assert_eq!(rank("linux/arm64"), None);
        assert_eq!(rank("windows/amd64"), None);
        let arm = Platform::parse("linux/arm64").unwrap();
        assert!(arm.rank(&Platform::parse("linux/arm/v7").unwrap()).is_some());
    }
}
