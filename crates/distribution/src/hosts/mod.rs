//! Which hosts serve a registry, in which order, and how each is reached.
//!
//! A configuration directory holds a folder a registry: `<host>_<port>_`, `<host>:<port>` or `<host>`, else
//! `_default`. In it is a `hosts.toml` (containerd, docs/hosts.md), or docker's certificate files.

mod certs;
mod file;

use model::{Error, Result};
use std::{
    fmt,
    path::{Path, PathBuf},
    time::Duration,
};

/// What a host may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Capabilities {
    /// Blobs and manifests by digest.
    pub pull: bool,
    /// Tags to digests.
    pub resolve: bool,
    /// Uploads.
    pub push: bool,
    /// The referrers of a manifest.
    pub referrers: bool,
}

impl Capabilities {
    /// Everything.
    pub const ALL: Self = Self { pull: true, resolve: true, push: true, referrers: true };
}

/// How the other side proves itself, and we ourselves to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tls {
    /// Files of authorities trusted beside the system's.
    pub authorities: Vec<PathBuf>,
    /// Files of our certificate and, unless it is in the same file, its key.
    pub client: Vec<(PathBuf, Option<PathBuf>)>,
    /// Whether the other side's certificate is not checked at all.
    pub skip_verify: bool,
}

impl Tls {
    /// Whether anything was configured: then a plain-HTTP host is tried with TLS first.
    pub fn is_configured(&self) -> bool {
        *self != Self::default()
    }
}

/// One host that serves a registry: the registry's own, or a mirror.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    /// `http` or `https`.
    pub scheme: String,
    /// Name or address, with the port where it is not the scheme's.
    pub authority: String,
    /// Path of the API's root, usually `/v2`.
    pub path: String,
    /// What it may be asked for.
    pub capabilities: Capabilities,
    /// Certificates.
    pub tls: Tls,
    /// Headers sent with every request.
    pub headers: Vec<(String, String)>,
    /// Longest that a connection may take.
    pub dial_timeout: Option<Duration>,
    /// Whether this is a mirror: it is told with `?ns=` which registry is meant.
    pub mirror: bool,
    /// Whether plain HTTP is tried when the TLS handshake fails.
    pub http_fallback: bool,
}

impl Host {
    /// A host with the API at `/v2` and every capability.
    pub fn new(scheme: impl Into<String>, authority: impl Into<String>) -> Self {
        Self {
            scheme: scheme.into(),
            authority: authority.into(),
            path: "/v2".into(),
            capabilities: Capabilities::ALL,
            tls: Tls::default(),
            headers: Vec::new(),
            dial_timeout: None,
            mirror: false,
            http_fallback: false,
        }
    }

    /// The registry's own host, where nothing is configured.
    fn of_registry(registry: &str, default_scheme: Option<&str>) -> Self {
        if registry == "docker.io" {
            return Self::new("https", "registry-1.docker.io");
        }
        let port = port_of(registry);
        let mut host = Self::new(default_scheme.unwrap_or("https"), registry);
        if is_loopback(registry) && default_scheme.is_none() {
            // A registry on this machine rarely has a certificate; TLS is tried, HTTP is the fallback.
            host.tls.skip_verify = port != Some("80");
            host.scheme = if matches!(port, None | Some("443")) { "https" } else { "http" }.into();
        }
        host
    }

    /// Where the scheme was guessed or TLS was configured for an HTTP host, TLS goes first.
    fn with_fallback(mut self) -> Self {
        if self.scheme == "http" && self.tls.is_configured() && port_of(&self.authority) != Some("80") {
            self.scheme = "https".into();
            self.http_fallback = true;
        }
        self
    }
}

impl fmt::Display for Host {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}://{}{}", self.scheme, self.authority, self.path)
    }
}

/// The configuration of hosts.
#[derive(Clone, Debug, Default)]
pub struct Hosts {
    /// Directories looked into, the first that knows the registry wins.
    pub dirs: Vec<PathBuf>,
    /// Scheme of hosts that are not configured: `https` unless said otherwise.
    pub default_scheme: Option<String>,
    /// For every host that is not configured.
    pub default_tls: Tls,
    /// Sent with every request to any host.
    pub headers: Vec<(String, String)>,
}

impl Hosts {
    /// The hosts of `registry` (`docker.io`, `localhost:5000`), the first to try first.
    ///
    /// # Errors
    /// `InvalidArgument` with file and key for a configuration that cannot be understood: a mirror that is silently
    /// passed over is worse than a refused pull.
    pub fn of(&self, registry: &str) -> Result<Vec<Host>> {
        let mut hosts = self.configured(registry)?;
        for host in &mut hosts {
            host.headers.splice(0..0, self.headers.iter().cloned());
        }
        Ok(hosts)
    }

    fn configured(&self, registry: &str) -> Result<Vec<Host>> {
        if registry.is_empty() || registry.contains('/') || registry.starts_with('.') {
            return Err(Error::invalid_argument(format!("registry {registry:?}: not a host name")));
        }
        for dir in self.dirs.iter().flat_map(|dir| folders(dir, registry)) {
            if dir.is_dir() {
                let hosts = file::load(&dir, registry, self.default_scheme.as_deref())?;
                return Ok(hosts.into_iter().map(Host::with_fallback).collect());
            }
        }
        let mut host = Host::of_registry(registry, self.default_scheme.as_deref());
        if self.default_tls.is_configured() {
            host.tls = self.default_tls.clone();
        }
        Ok(vec![host.with_fallback()])
    }

    /// The folder that configures `registry`, if there is one.
    pub fn folder_of(&self, registry: &str) -> Option<PathBuf> {
        self.dirs.iter().flat_map(|dir| folders(dir, registry)).find(|dir| dir.is_dir())
    }
}

/// The folders that may configure `registry`, in order.
fn folders(root: &Path, registry: &str) -> Vec<PathBuf> {
    let mut folders = Vec::new();
    if let Some((host, port)) = registry.rsplit_once(':') {
        folders.push(root.join(format!("{host}_{port}_")));
    }
    folders.push(root.join(registry));
    folders.push(root.join("_default"));
    folders
}

fn port_of(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)
}

pub(crate) fn is_loopback(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only(registry: &str) -> Host {
        let mut hosts = Hosts::default().of(registry).unwrap();
        assert_eq!(hosts.len(), 1);
        hosts.remove(0)
    }

    #[test]
    fn an_unconfigured_registry_is_reached_as_containerd_does() {
        for (registry, url, fallback, skip) in [
            ("docker.io", "https://registry-1.docker.io/v2", false, false),
            ("quay.io", "https://quay.io/v2", false, false),
            ("example.org:5000", "https://example.org:5000/v2", false, false),
            ("localhost:5000", "https://localhost:5000/v2", true, true),
            ("127.0.0.1:5000", "https://127.0.0.1:5000/v2", true, true),
            ("[::1]:5000", "https://[::1]:5000/v2", true, true),
            ("localhost:80", "http://localhost:80/v2", false, false),
            ("localhost", "https://localhost/v2", false, true),
        ] {
            let host = only(registry);
            assert_eq!(
                (host.to_string().as_str(), host.http_fallback, host.tls.skip_verify),
                (url, fallback, skip),
                "{registry}"
            );
        }
    }

    #[test]
    fn a_registry_is_no_path() {
        for bad in ["", "..", "a/b", "../x"] {
            assert!(Hosts::default().of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_most_specific_folder_wins() {
        let dir = tempfile::tempdir().unwrap();
        let hosts = Hosts { dirs: vec![dir.path().to_owned()], ..Hosts::default() };
        for (folder, server) in [("_default", "a"), ("r.example:5000", "b"), ("r.example_5000_", "c")] {
            std::fs::create_dir(dir.path().join(folder)).unwrap();
            std::fs::write(
                dir.path().join(folder).join("hosts.toml"),
                format!("server = \"https://{server}.example\""),
            )
            .unwrap();
            let found = hosts.of("r.example:5000").unwrap();
            assert_eq!(found.last().unwrap().authority, format!("{server}.example"));
        }
        assert_eq!(hosts.of("other.example").unwrap()[0].authority, "a.example");
    }
}
