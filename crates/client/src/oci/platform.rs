//! Platforms: parsing, normal form and which of them a machine can run (containerd's `platforms` package).

use model::{Error, Result};
use serde::{Deserialize, Serialize};
use std::{fmt, ops::Range};

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
    "386",
    "amd64",
    "amd64p32",
    "arm",
    "arm64",
    "arm64be",
    "armbe",
    "loong64",
    "mips",
    "mips64",
    "mips64le",
    "mips64p32",
    "mips64p32le",
    "mipsle",
    "ppc",
    "ppc64",
    "ppc64le",
    "riscv",
    "riscv64",
    "s390",
    "s390x",
    "sparc",
    "sparc64",
    "wasm",
];

/// Operating systems a lone word may mean.
const SYSTEMS: &[&str] = &[
    "aix",
    "android",
    "darwin",
    "dragonfly",
    "freebsd",
    "hurd",
    "illumos",
    "ios",
    "js",
    "linux",
    "nacl",
    "netbsd",
    "openbsd",
    "plan9",
    "solaris",
    "windows",
    "zos",
];

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
        self.compatible().iter().position(|own| own.equals(image))
    }

    /// Whether an image for `image` is exactly for this platform.
    pub fn equals(&self, image: &Self) -> bool {
        let (own, image) = (self.normalized(), image.normalized());
        (image.os, image.architecture, image.variant) == (own.os, own.architecture, own.variant)
    }

    /// What this platform runs, the best first: itself, then what containerd's `platforms.Only` takes in its place.
    fn compatible(&self) -> Vec<Self> {
        let own = self.normalized();
        let older = |architecture: &str, prefix: &str, versions: Range<u8>| {
            let variant = |version| Self::new(&own.os, architecture, &format!("{prefix}{version}"));
            versions.rev().map(variant).collect::<Vec<_>>()
        };
        let version = |text: &str| text.trim_start_matches('v').parse().unwrap_or(0);
        let others = match own.architecture.as_str() {
            "amd64" => [older("amd64", "v", 1..version(&own.variant)), vec![Self::new(&own.os, "386", "")]].concat(),
            "arm" => older("arm", "v", 5..version(&own.variant)),
            "arm64" => {
                let (major, minor) = own.variant.split_once('.').unwrap_or((&own.variant, "0"));
                // v9.0 has what v8.5 has, v9.1 what v8.6 has; v8.9 is the last of them.
                let (nine, eight) = match (major, version(minor)) {
                    ("" | "v8", minor) => (0, minor),
                    ("v9", minor) => (minor, minor.saturating_add(6).min(10)),
                    _ => return vec![own],
                };
                [older("arm64", "v9.", 0..nine), older("arm64", "v8.", 0..eight), older("arm", "v", 5..9)].concat()
            }
            _ => Vec::new(),
        };
        [vec![own], others].concat()
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
    fn a_platform_runs_what_containerds_matcher_takes_the_nearest_first() {
        // What runs, in this order, and what does not.
        for (host, runs, refused) in [
            ("linux/amd64", "amd64 386", "amd64/v2 arm/v7 arm64"),
            ("linux/amd64/v1", "amd64 386", "amd64/v2"),
            ("linux/amd64/v3", "amd64/v3 amd64/v2 amd64 386", "amd64/v4"),
            ("linux/amd64/v4", "amd64/v4 amd64/v3 amd64/v2 amd64/v1 386", "arm64"),
            ("linux/386", "386", "amd64 arm/v7"),
            ("linux/arm/v8", "arm/v8 arm arm/v6 arm/v5", "arm/v4 arm64"),
            ("linux/arm", "arm/v7 arm/v6 arm/v5", "arm/v8 arm/v4 arm64"),
            ("linux/arm/v6", "arm/v6 arm/v5", "arm arm/v7"),
            ("linux/arm/v5", "arm/v5", "arm/v4 arm/v6"),
            ("linux/arm/v4", "arm/v4", "arm/v5"),
            ("linux/arm64", "arm64/v8 arm/v8 arm/v7 arm/v6 arm/v5", "arm64/v8.1 arm64/v9 arm/v4 arm/v9"),
            ("linux/arm64/v8.0", "arm64 arm/v8", "arm64/v8.1"),
            ("linux/arm64/v8.2", "arm64/v8.2 arm64/v8.1 arm64 arm/v8 arm/v5", "arm64/v8.3 arm64/v9"),
            ("linux/arm64/v8.9", "arm64/v8.9 arm64/v8.8 arm64/v8.1 arm64/v8.0 arm", "arm64/v9"),
            ("linux/arm64/v9", "arm64/v9.0 arm64/v8.5 arm64/v8.4 arm64/v8.1 arm64 arm/v8", "arm64/v8.6 arm64/v9.1"),
            ("linux/arm64/v9.2", "arm64/v9.2 arm64/v9.1 arm64/v9 arm64/v8.7 arm64/v8.6 arm64", "arm64/v9.3 arm64/v8.8"),
            ("linux/arm64/v9.7", "arm64/v9.7 arm64/v9.6 arm64/v9 arm64/v8.9 arm64 arm/v5", "arm64/v8.10 arm/v4 amd64"),
            ("linux/arm64/v10", "arm64/v10", "arm64/v9 arm64 arm/v8"),
            ("linux/riscv64", "riscv64", "arm64 amd64"),
        ] {
            let host = Platform::parse(host).unwrap();
            let rank = |image: &str| host.rank(&Platform::parse(&format!("linux/{image}")).unwrap());
            let ranks: Vec<_> = runs.split(' ').map(rank).collect();
            assert!(ranks[0] == Some(0) && ranks.is_sorted_by(|near, far| near < far), "{host}: {runs}: {ranks:?}");
            for image in refused.split(' ') {
                assert_eq!(rank(image), None, "{host}: {image}");
            }
            assert_eq!(host.rank(&Platform::parse("windows/amd64").unwrap()), None, "{host}");
        }
    }
}
