//! Docker's `config.json`: credentials in it, or kept by the helper programs that it names.

use super::credentials::{Answer, Credential, Credentials};
use base64::Engine as _;
use model::{Error, Result};
use serde::Deserialize;
use std::{collections::HashMap, io, path::Path, process::Stdio, time::Duration};
use tokio::{io::AsyncWriteExt as _, process::Command};

/// Longest that a helper may take.
const HELPER_TIMEOUT: Duration = Duration::from_secs(30);
/// Most bytes of a configuration file.
const MAX: u64 = 4 << 20;
/// The user name that a helper gives with an identity token.
const TOKEN_USER: &str = "<token>";

/// The `auths`, `credHelpers` and `credsStore` of docker's configuration.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DockerConfig {
    auths: HashMap<String, Entry>,
    cred_helpers: HashMap<String, String>,
    creds_store: String,
}

#[derive(Clone, Default, Deserialize)]
#[serde(rename_all = "lowercase", default)]
struct Entry {
    auth: String,
    username: String,
    password: String,
    identitytoken: String,
    registrytoken: String,
}

impl std::fmt::Debug for Entry {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Entry(…)")
    }
}

#[derive(Deserialize)]
struct HelperAnswer {
    #[serde(rename = "Username")]
    username: String,
    #[serde(rename = "Secret")]
    secret: String,
}

impl DockerConfig {
    /// Reads `path`; a file that does not exist holds no credentials.
    pub fn open(path: &Path) -> Result<Self> {
        let what = || format!("read {}", path.display());
        match std::fs::metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Ok(metadata) if metadata.len() > MAX => {
                return Err(Error::invalid_argument(format!("{}: larger than {MAX} bytes", path.display())));
            }
            _ => {}
        }
        let bytes = std::fs::read(path).map_err(|error| Error::io(what(), error))?;
        serde_json::from_slice(&bytes).map_err(|error| Error::invalid_argument(what()).caused_by(error))
    }

    /// The helper program that is asked for the credential of `host`, unless the configuration has it itself.
    pub fn helper_of(&self, host: &str) -> Option<String> {
        let names = names_of(host);
        let own = names.iter().find_map(|name| self.cred_helpers.get(*name));
        let inline = || self.auths.iter().any(|(name, entry)| names.contains(&bare(name)) && entry.is_filled());
        let helper = match own {
            Some(own) => own,
            None if self.creds_store.is_empty() || inline() => return None,
            None => &self.creds_store,
        };
        Some(program_of(helper))
    }

    async fn find(&self, host: &str) -> Result<Option<Credential>> {
        let names = names_of(host);
        if let Some(helper) = names.iter().find_map(|name| self.cred_helpers.get(*name)) {
            return ask_helper(helper, names[0]).await;
        }
        if let Some(found) = self.auths.iter().find(|(name, _)| names.contains(&bare(name)))
            && let Some(credential) = found.1.credential()?
        {
            return Ok(Some(credential));
        }
        if self.creds_store.is_empty() { Ok(None) } else { ask_helper(&self.creds_store, names[0]).await }
    }
}

impl Credentials for DockerConfig {
    fn of<'a>(&'a self, host: &'a str, _: &'a str, _: &'a [String]) -> Answer<'a> {
        Box::pin(self.find(host))
    }
}

impl Entry {
    fn is_filled(&self) -> bool {
        [&self.auth, &self.username, &self.identitytoken, &self.registrytoken].iter().any(|text| !text.is_empty())
    }

    fn credential(&self) -> Result<Option<Credential>> {
        if !self.identitytoken.is_empty() {
            return Ok(Some(Credential::Identity(self.identitytoken.clone())));
        }
        if !self.registrytoken.is_empty() {
            return Ok(Some(Credential::Token(self.registrytoken.clone())));
        }
        if self.auth.is_empty() {
            let basic = Credential::Basic { username: self.username.clone(), password: self.password.clone() };
            return Ok((!self.username.is_empty()).then_some(basic));
        }
        let bad = || Error::invalid_argument("docker's configuration: auth is not base64 of name:password");
        let decoded = base64::engine::general_purpose::STANDARD.decode(self.auth.trim()).map_err(|_| bad())?;
        let text = String::from_utf8(decoded).map_err(|_| bad())?;
        let (username, password) = text.trim_end_matches('\0').split_once(':').ok_or_else(bad)?;
        Ok(Some(Credential::Basic { username: username.into(), password: password.into() }))
    }
}

/// The names a host may have in the configuration; Docker Hub has its own.
fn names_of(host: &str) -> Vec<&str> {
    match host {
        "registry-1.docker.io" | "docker.io" => vec!["https://index.docker.io/v1/", "index.docker.io", "docker.io"],
        host => vec![host],
    }
}

/// A key of `auths` without scheme and path.
fn bare(name: &str) -> &str {
    if name == "https://index.docker.io/v1/" {
        return name;
    }
    let name = name.strip_prefix("https://").or_else(|| name.strip_prefix("http://")).unwrap_or(name);
    name.split('/').next().unwrap_or(name)
}

fn program_of(helper: &str) -> String {
    format!("docker-credential-{helper}")
}

/// Runs `docker-credential-<helper> get`.
async fn ask_helper(helper: &str, server: &str) -> Result<Option<Credential>> {
    let program = program_of(helper);
    if helper.contains('/') {
        return Err(Error::invalid_argument(format!("credential helper {helper:?} is not a program's name")));
    }
    let what = format!("ask {program} for {server}");
    let answer = tokio::time::timeout(HELPER_TIMEOUT, run_helper(&program, server))
        .await
        .map_err(|_| Error::deadline_exceeded(format!("{what}: no answer in {HELPER_TIMEOUT:?}")))?
        .map_err(|error| Error::io(what.clone(), error))?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stdout);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(Error::unknown(format!("{what}: {}", said.trim())));
    }
    let answer: HelperAnswer =
        serde_json::from_slice(&answer.stdout).map_err(|error| Error::unknown(what).caused_by(error))?;
    Ok(Some(if answer.username == TOKEN_USER {
        Credential::Identity(answer.secret)
    } else {
        Credential::Basic { username: answer.username, password: answer.secret }
    }))
}

async fn run_helper(program: &str, server: &str) -> io::Result<std::process::Output> {
    let mut child = Command::new(program)
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(server.as_bytes()).await?;
    }
    child.wait_with_output().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finds_credentials_as_docker_writes_them() {
        let config: DockerConfig = serde_json::from_str(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"auth": "dTpwOnE="},
                "https://r.example:5000/v2/": {"username": "a", "password": "b"},
                "token.example": {"identitytoken": "t"},
                "bad.example": {"auth": "!"},
                "empty.example": {}
            }}"#,
        )
        .unwrap();
        let basic = |username: &str, password: &str| {
            Some(Credential::Basic { username: username.into(), password: password.into() })
        };
        assert_eq!(config.find("registry-1.docker.io").await.unwrap(), basic("u", "p:q"));
        assert_eq!(config.find("r.example:5000").await.unwrap(), basic("a", "b"));
        assert_eq!(config.find("token.example").await.unwrap(), Some(Credential::Identity("t".into())));
        assert_eq!(config.find("empty.example").await.unwrap(), None);
        assert_eq!(config.find("other.example").await.unwrap(), None);
        assert_eq!(config.helper_of("r.example:5000"), None);
        assert!(config.find("bad.example").await.is_err());
        assert!(!format!("{config:?}").contains("dTpwOnE"), "secrets are not for logs");
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let config: DockerConfig = serde_json::from_str(r#"{"credsStore": "no-such-helper"}"#).unwrap();
        let error = config.find("r.example").await.unwrap_err();
        assert!(error.to_string().contains("docker-credential-no-such-helper"), "{error}");
        assert_eq!(config.helper_of("r.example").as_deref(), Some("docker-credential-no-such-helper"));
    }
}
