//! The credentials that ctr knows: those of its flags, or of the user's docker configuration.

use client::transfer::{Answer as TransferAnswer, Authenticate, Secret};
use distribution::{Answer, Credential, Credentials, DockerConfig};
use model::Result;
use std::path::{Path, PathBuf};

/// What we may show registries.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    /// From the flags: for whichever host serves the image, as with Go's ctr.
    given: Option<Credential>,
    docker: DockerConfig,
    file: PathBuf,
}

impl Known {
    /// `given`, or what the user's docker configuration has.
    pub(crate) fn new(given: Option<Credential>) -> Result<Self> {
        let file = docker_config();
        // What is given goes first: then a broken file is of no importance.
        let docker = if given.is_some() { DockerConfig::default() } else { DockerConfig::open(&file)? };
        Ok(Self { given, docker, file })
    }

    /// Where a credential for a host comes from, if there is one.
    pub(crate) fn source(&self) -> Source<'_> {
        if self.given.is_some() { Source::Flags } else { Source::Docker(&self.file) }
    }

    async fn find(&self, host: &str, repository: &str, challenges: &[String]) -> Result<Option<Credential>> {
        match &self.given {
            Some(given) => Ok(Some(given.clone())),
            None => self.docker.of(host, repository, challenges).await,
        }
    }
}

/// Where credentials come from.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Source<'a> {
    /// The command line.
    Flags,
    /// This file, or a helper that it names.
    Docker(&'a Path),
}

impl std::fmt::Display for Source<'_> {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Flags => out.write_str("the command line"),
            Self::Docker(file) => write!(out, "{}", file.display()),
        }
    }
}

/// `$DOCKER_CONFIG/config.json`, else that in `~/.docker`.
fn docker_config() -> PathBuf {
    let dir = std::env::var_os("DOCKER_CONFIG").filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let home = || std::env::home_dir().unwrap_or_else(|| PathBuf::from("/")).join(".docker");
    dir.unwrap_or_else(home).join("config.json")
}

impl Credentials for Known {
    fn of<'a>(&'a self, host: &'a str, repository: &'a str, challenges: &'a [String]) -> Answer<'a> {
        Box::pin(self.find(host, repository, challenges))
    }
}

impl Authenticate for Known {
    fn secret<'a>(&'a self, host: &'a str, reference: &'a str) -> TransferAnswer<'a> {
        Box::pin(async move {
            Ok(match self.find(host, reference, &[]).await? {
                None => Secret::None,
                Some(Credential::Basic { username, password }) => Secret::Basic { username, password },
                Some(Credential::Identity(token)) => Secret::Refresh(token),
                Some(Credential::Token(token)) => Secret::Header(format!("Bearer {token}")),
                Some(Credential::Header(header)) => Secret::Header(header),
            })
        })
    }
}
