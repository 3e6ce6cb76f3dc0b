//! The credentials that ctr knows: those of its flags, or of the user's docker configuration.

use client::transfer::{Answer as TransferAnswer, Authenticate, Secret};
use distribution::{Answer, Credential, Credentials, DockerConfig};
use model::Result;
use std::path::PathBuf;

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

    /// What would be shown to `host`, without the secret itself.
    pub(crate) async fn shown_to(&self, host: &str) -> Result<Option<Shown>> {
        let source = match (&self.given, self.docker.helper_of(host)) {
            (Some(_), _) => "the command line".to_owned(),
            (None, Some(helper)) => format!("{helper}, named in {}", self.file.display()),
            (None, None) => self.file.display().to_string(),
        };
        let found = self.find(host, "", &[]).await.map_err(|error| error.context(source.clone()))?;
        Ok(found.map(|credential| Shown {
            what: match credential {
                Credential::Basic { username, .. } => format!("password of {username}"),
                Credential::Identity(_) => "identity token".to_owned(),
                Credential::Token(_) => "registry token".to_owned(),
                Credential::Header(_) => "header".to_owned(),
            },
            source,
        }))
    }

    async fn find(&self, host: &str, repository: &str, challenges: &[String]) -> Result<Option<Credential>> {
        match &self.given {
            Some(given) => Ok(Some(given.clone())),
            None => self.docker.of(host, repository, challenges).await,
        }
    }
}

/// A credential as it may be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Shown {
    /// What it is, and whose.
    pub(crate) what: String,
    /// Where it was found.
    pub(crate) source: String,
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
