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

/// The one registry that is not where its name says.
const DOCKER: &str = "docker.io";

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
    /// Files of authorities that are trusted.
    pub authorities: Vec<PathBuf>,
    /// Whether they are trusted in place of the system's, not beside them.
    pub exclusive: bool,
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
    /// Longest that a connection may take; zero sets no limit.
    pub dial_timeout: Option<Duration>,
    /// Whether this is a mirror (`[host]`), not the `server`.
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

    /// Whether this is where `registry` itself is. Any other host serves it for it, and is told so with `?ns=`.
    pub(crate) fn is_of(&self, registry: &str) -> bool {
        let usual = if self.scheme == "https" { ":443" } else { ":80" };
        let bare = |authority: &str| authority.strip_suffix(usual).unwrap_or(authority).to_ascii_lowercase();
        bare(&self.authority) == bare(own_authority(registry))
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
    /// For every host; a file adds to it, and may say otherwise of `skip_verify`.
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
        if registry.is_empty() || registry.contains('/') || registry.starts_with('.') {
            return Err(Error::invalid_argument(format!("registry {registry:?}: not a host name")));
        }
        let mut hosts = match self.folder_of(registry) {
            Some(folder) => file::load(&folder, registry, self)?,
            None => vec![self.own_host(registry)],
        };
        for host in &mut hosts {
            host.headers.splice(0..0, self.headers.iter().cloned());
        }
        Ok(hosts.into_iter().map(Host::with_fallback).collect())
    }

    /// A host before its configuration.
    fn host(&self, scheme: &str, authority: &str) -> Host {
        Host { tls: self.default_tls.clone(), ..Host::new(scheme, authority) }
    }

    /// The registry's own host, before its configuration.
    fn own_host(&self, registry: &str) -> Host {
        let mut host = self.host(self.default_scheme.as_deref().unwrap_or("https"), own_authority(registry));
        if registry == DOCKER {
            host.scheme = "https".into();
        } else if is_loopback(registry) && self.default_scheme.is_none() {
            // A registry on this machine rarely has a certificate; TLS is tried, HTTP is the fallback.
            let port = port_of(registry);
            host.tls.skip_verify |= port != Some("80");
            host.scheme = if matches!(port, None | Some("443")) { "https" } else { "http" }.into();
        }
        host
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

/// Where `registry` is.
fn own_authority(registry: &str) -> &str {
    if registry == DOCKER { "registry-1.docker.io" } else { registry }
}

pub(crate) fn port_of(authority: &str) -> Option<&str> {
    let (_, port) = authority.rsplit_once(':')?;
    port.bytes().all(|byte| byte.is_ascii_digit()).then_some(port)
}

fn is_loopback(authority: &str) -> bool {
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
    fn only_another_host_than_the_registrys_own_is_told_which_is_meant() {
        for (registry, authority, own) in [
            ("quay.io", "quay.io", true),
            ("quay.io", "cache.internal", false),
            ("quay.io:5000", "quay.io", false),
            ("docker.io", "registry-1.docker.io", true),
            ("quay.io", "registry-1.docker.io", false),
        ] {
            assert_eq!(Host::new("https", authority).is_of(registry), own, "{registry} at {authority}");
        }
    }

    #[test]
    fn default_tls_is_for_configured_hosts_too() {
        let dir = tempfile::tempdir().unwrap();
        let default_tls = Tls {
            authorities: vec!["/flag/ca".into()],
            exclusive: true,
            client: vec![("/flag/cert".into(), None)],
            skip_verify: true,
        };
        let hosts = Hosts { dirs: vec![dir.path().to_owned()], default_tls: default_tls.clone(), ..Hosts::default() };
        let folder = dir.path().join("_default");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(hosts.of("r.example").unwrap()[0].tls, default_tls, "docker's layout");
        let text = "[host.\"https://mirror.example\"]\nca = \"ca\"\nclient = \"cert\"\nskip_verify = false";
        std::fs::write(folder.join("hosts.toml"), text).unwrap();
        let found = hosts.of("r.example").unwrap();
        assert_eq!(found[1].tls, default_tls);
        let tls = &found[0].tls;
        assert_eq!(tls.authorities, ["/flag/ca".into(), folder.join("ca")]);
        assert_eq!(tls.client.len(), 2);
        assert!(tls.exclusive && !tls.skip_verify);
    }

    #[test]
    fn certificates_do_not_make_a_registry_on_this_machine_prove_itself() {
        let dir = tempfile::tempdir().unwrap();
        let default_tls = Tls { client: vec![("/cert".into(), None)], ..Tls::default() };
        let hosts = Hosts { dirs: vec![dir.path().to_owned()], default_tls, ..Hosts::default() };
        for folder in [false, true] {
            if folder {
                std::fs::create_dir(dir.path().join("localhost:5000")).unwrap();
                std::fs::write(dir.path().join("localhost:5000/ca.crt"), "").unwrap();
            }
            let found = hosts.of("localhost:5000").unwrap();
            assert_eq!((found[0].tls.skip_verify, found[0].tls.authorities.len()), (true, usize::from(folder)));
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
