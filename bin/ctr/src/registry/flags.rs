//! The flags of every command that speaks to a registry.

use super::{Known, dump, password};
use clap::Args;
use client::transfer::{HttpLog, Registry};
use distribution::{Credential, Credentials, Hosts, Limits, Reference, Repository, Tls};
use model::{Error, Result};
use std::path::PathBuf;
use std::sync::Arc;

/// How a registry is reached, and who we are there.
#[derive(Clone, Debug, Args)]
pub(crate) struct RegistryFlags {
    /// Skip SSL certificate validation
    #[arg(long, short = 'k')]
    skip_verify: bool,
    /// Allow connections using plain HTTP
    #[arg(long)]
    plain_http: bool,
    /// User[:password] Registry user and password; a password that is not given is asked for
    #[arg(long, short, value_name = "USER[:PASSWORD]", value_parser = Secret::new)]
    user: Option<Secret>,
    /// Refresh token for authorization server
    #[arg(long, value_name = "TOKEN", value_parser = Secret::new)]
    refresh: Option<Secret>,
    /// Custom hosts configuration directory (hosts.toml of containerd, certs.d of docker)
    #[arg(long, value_name = "DIR")]
    hosts_dir: Option<String>,
    /// Path to TLS root CA
    #[arg(long, value_name = "FILE")]
    tlscacert: Option<PathBuf>,
    /// Path to TLS client certificate
    #[arg(long, value_name = "FILE")]
    tlscert: Option<PathBuf>,
    /// Path to TLS client key
    #[arg(long, value_name = "FILE")]
    tlskey: Option<PathBuf>,
    /// Dump all HTTP request/responses when interacting with container registry
    #[arg(long)]
    http_dump: bool,
    /// Show names looked up and connections when interacting with container registry
    #[arg(long)]
    http_trace: bool,
}

/// Flags that Go's ctr takes where it reaches no registry, too: read, and of no effect.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Without effect here")]
pub(crate) struct UnusedFlags {
    #[command(flatten)]
    _registry: RegistryFlags,
    /// Labels
    #[arg(long = "label", value_name = "KEY=VALUE")]
    _label: Vec<String>,
}

/// A word of the command line that no log and no error may show.
#[derive(Clone)]
struct Secret(String);

impl Secret {
    #[allow(clippy::unnecessary_wraps, reason = "as clap wants it")]
    fn new(text: &str) -> Result<Self, std::convert::Infallible> {
        Ok(Self(text.to_owned()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("…")
    }
}

impl RegistryFlags {
    /// A flag that the Transfer service has no words for, if one is given: then ctr has to do the work itself.
    pub(crate) fn only_local(&self) -> Option<&'static str> {
        [
            (self.skip_verify, "--skip-verify"),
            (self.tlscacert.is_some(), "--tlscacert"),
            (self.tlscert.is_some(), "--tlscert"),
            (self.tlskey.is_some(), "--tlskey"),
        ]
        .into_iter()
        .find_map(|(given, name)| given.then_some(name))
    }

    /// The credentials given, or else those of the user's docker configuration. Asks for a password that is missing.
    pub(crate) fn credentials(&self) -> Result<Known> {
        let given = match (&self.user, &self.refresh) {
            (Some(user), _) if !user.0.is_empty() => Some(basic(&user.0)?),
            (_, Some(token)) if !token.0.is_empty() => Some(Credential::Identity(token.0.clone())),
            _ => None,
        };
        Known::new(given)
    }

    /// The registry as an end of a transfer.
    pub(crate) fn endpoint(&self, reference: &str) -> Result<Registry> {
        Ok(Registry {
            reference: reference.to_owned(),
            hosts_dir: self.hosts_dir.clone().unwrap_or_default(),
            plain_http: self.plain_http,
            credentials: Some(Arc::new(self.credentials()?)),
            log: HttpLog { dump: self.http_dump, trace: self.http_trace },
            ..Registry::default()
        })
    }

    /// Shows requests and answers, if that is wanted.
    pub(crate) fn start_dump(&self) {
        dump::requests(self.http_dump, self.http_trace);
    }

    /// The repository of `remote`, for work that ctr does itself.
    pub(crate) fn repository(&self, remote: &Reference) -> Result<Arc<Repository>> {
        self.start_dump();
        let credentials: Arc<dyn Credentials> = Arc::new(self.credentials()?);
        let (hosts, limits) = (self.hosts(&[])?, Limits::default());
        Repository::open(&remote.registry, &remote.repository, &hosts, &credentials, limits).map(Arc::new)
    }

    /// The hosts of registries, for work that ctr does itself. `default_dirs` are looked into if none is given.
    pub(crate) fn hosts(&self, default_dirs: &[&str]) -> Result<Hosts> {
        let client = match (&self.tlscert, &self.tlskey) {
            (Some(certificate), Some(key)) => vec![(certificate.clone(), Some(key.clone()))],
            (None, None) => Vec::new(),
            _ => return Err(Error::invalid_argument("flags --tlscert and --tlskey must be set together")),
        };
        let dirs = match self.hosts_dir.as_deref().filter(|dirs| !dirs.is_empty()) {
            Some(dirs) => std::env::split_paths(dirs).collect(),
            None => default_dirs.iter().map(PathBuf::from).collect(),
        };
        Ok(Hosts {
            dirs,
            default_scheme: self.plain_http.then(|| "http".to_owned()),
            default_tls: Tls {
                authorities: self.tlscacert.clone().into_iter().collect(),
                exclusive: self.tlscacert.is_some(),
                client,
                skip_verify: self.skip_verify,
            },
            headers: Vec::new(),
        })
    }
}

/// `name:password`, or a name whose password is asked for.
fn basic(user: &str) -> Result<Credential> {
    // A colon at the front is part of the name, as Go's ctr has it.
    let (username, password) = match user.char_indices().find(|&(at, c)| c == ':' && at > 0) {
        Some((at, _)) => (&user[..at], &user[at + 1..]),
        None => (user, ""),
    };
    let password = if password.is_empty() { password::ask()? } else { password.to_owned() };
    Ok(Credential::Basic { username: username.to_owned(), password })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Flags {
        #[command(flatten)]
        registry: RegistryFlags,
    }

    fn parse(words: &[&str]) -> RegistryFlags {
        Flags::try_parse_from([&["ctr"], words].concat()).unwrap().registry
    }

    #[test]
    fn passwords_are_split_off_and_not_shown() {
        let flags = parse(&["-u", "me:a:b"]);
        assert!(!format!("{flags:?}").contains("a:b"));
        let password = |user: &str| match basic(user).unwrap() {
            Credential::Basic { username, password } => (username, password),
            other => panic!("{other:?}"),
        };
        assert_eq!(password("me:a:b"), ("me".into(), "a:b".into()));
        assert_eq!(password(":me:b"), (":me".into(), "b".into()));
    }

    #[test]
    fn certificate_and_key_go_together() {
        assert!(parse(&["--tlscert", "/c"]).hosts(&[]).is_err());
        let flags = parse(&["--tlscert", "/c", "--tlskey", "/k", "-k", "--hosts-dir", "/a:/b"]);
        assert_eq!(flags.only_local(), Some("--skip-verify"));
        let hosts = flags.hosts(&["/default"]).unwrap();
        assert_eq!(hosts.dirs, [PathBuf::from("/a"), PathBuf::from("/b")]);
        assert_eq!(hosts.default_tls.client, [("/c".into(), Some("/k".into()))]);
        assert_eq!(parse(&[]).hosts(&["/default"]).unwrap().dirs, [PathBuf::from("/default")]);
        assert_eq!(parse(&["--plain-http"]).only_local(), None);
    }
}
