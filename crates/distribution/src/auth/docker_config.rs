//! Docker's `config.json`: credentials in it, or kept by the helper programs that it names.

use super::credentials::{Answer, Credential, Credentials};
use base64::Engine as _;
use model::{Error, Result};
use serde::Deserialize;
use std::{
    collections::{BTreeMap, HashMap},
    io,
    path::Path,
    process::Stdio,
    time::Duration,
};
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
    auths: BTreeMap<String, Entry>,
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
        match self.source(&names_of(host)) {
            Source::Helper(helper) | Source::Store(helper) => Some(program_of(helper)),
            Source::Entry(_) | Source::Nothing => None,
        }
    }

    async fn find(&self, host: &str) -> Result<Option<Credential>> {
        let names = names_of(host);
        match self.source(&names) {
            Source::Helper(helper) => ask_helper(helper, names[0]).await,
            Source::Entry(entry) => entry.credential(),
            Source::Store(helper) => Ok(ask_helper(helper, names[0]).await.unwrap_or_else(|error| {
                // It may be here for another host. Most images need nobody, and a registry that does will say so.
                tracing::warn!(%error, "docker's store of credentials has none");
                None
            })),
            Source::Nothing => Ok(None),
        }
    }

    /// Where the credential of the host with these names is.
    fn source(&self, names: &[&str]) -> Source<'_> {
        if let Some(helper) = names.iter().find_map(|name| self.cred_helpers.get(*name)) {
            return Source::Helper(helper);
        }
        match names.iter().find_map(|name| self.entry(name)) {
            Some(entry) => Source::Entry(entry),
            None if self.creds_store.is_empty() => Source::Nothing,
            None => Source::Store(&self.creds_store),
        }
    }

    /// The entry of `name`, or of a URL of it. Other paths are of other things: docker keeps tokens of its own in
    /// `https://index.docker.io/v1/access-token` and `…/refresh-token`.
    fn entry(&self, name: &str) -> Option<&Entry> {
        let filled = |entry: &&Entry| entry.is_filled();
        self.auths.get(name).filter(filled).or_else(|| {
            let alike = self.auths.iter().filter(|(key, _)| is_url_of(key, name));
            alike.map(|(_, entry)| entry).find(filled)
        })
    }
}

/// Where a credential is.
enum Source<'a> {
    /// With a helper that keeps those of this host.
    Helper(&'a str),
    Entry(&'a Entry),
    /// With the helper of all hosts.
    Store(&'a str),
    Nothing,
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
        host => std::iter::once(host).chain(host.strip_suffix(":443")).collect(),
    }
}

/// Whether `key` is the API of the host `name`.
fn is_url_of(key: &str, name: &str) -> bool {
    let bare = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key);
    let path = bare.strip_prefix(name).and_then(|path| path.strip_prefix('/').or(path.is_empty().then_some("")));
    path.is_some_and(|path| matches!(path, "" | "v1" | "v1/" | "v2" | "v2/"))
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
    // Another attempt would not help, and nothing of the image is missing.
    let failed = |why: String| Error::failed_precondition(what.clone()).caused_by(why);
    let answer = tokio::time::timeout(HELPER_TIMEOUT, run_helper(&program, server))
        .await
        .map_err(|_| failed(format!("no answer in {HELPER_TIMEOUT:?}")))?
        .map_err(|error| failed(error.to_string()))?;
    if !answer.status.success() {
        let said = String::from_utf8_lossy(&answer.stdout);
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(failed(said.trim().to_owned()));
    }
    let answer: HelperAnswer = serde_json::from_slice(&answer.stdout).map_err(|error| failed(error.to_string()))?;
    Ok(match answer {
        HelperAnswer { secret, .. } if secret.is_empty() => None,
        HelperAnswer { username, secret } if username == TOKEN_USER => Some(Credential::Identity(secret)),
        HelperAnswer { username, secret } => Some(Credential::Basic { username, password: secret }),
    })
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

    /// As they are after docker's login by a browser, and podman's to an organisation.
    #[tokio::test]
    async fn of_several_keys_of_a_host_its_own_is_taken() {
        let config: DockerConfig = serde_json::from_str(
            r#"{"auths": {
                "https://index.docker.io/v1/": {"username": "right", "password": "p"},
                "https://index.docker.io/v1/access-token": {"username": "access", "password": "p"},
                "https://index.docker.io/v1/refresh-token": {"username": "refresh", "password": "p"},
                "quay.example/org": {"username": "organisation", "password": "p"},
                "empty.example": {},
                "http://empty.example/v1/": {},
                "https://empty.example/v1/": {"username": "right", "password": "p"},
                "https://port.example": {"username": "right", "password": "p"},
                "exact.example": {"username": "right", "password": "p"},
                "https://exact.example": {"username": "other", "password": "p"}
            }}"#,
        )
        .unwrap();
        let right = Some(Credential::Basic { username: "right".into(), password: "p".into() });
        for host in ["registry-1.docker.io", "empty.example", "port.example:443", "exact.example"] {
            assert_eq!(config.find(host).await.unwrap(), right, "{host}");
        }
        for host in ["quay.example", "example", "port.example:5000"] {
            assert_eq!(config.find(host).await.unwrap(), None, "{host}");
        }
    }

    #[tokio::test]
    async fn a_helper_that_is_not_there_is_named() {
        let config = r#"{"credHelpers": {"r.example": "no-such-helper"}, "credsStore": "nor-this"}"#;
        let config: DockerConfig = serde_json::from_str(config).unwrap();
        let error = config.find("r.example").await.unwrap_err();
        assert!(error.to_string().contains("docker-credential-no-such-helper"), "{error}");
        assert_eq!(error.kind(), model::Kind::FailedPrecondition);
        assert_eq!(config.helper_of("r.example").as_deref(), Some("docker-credential-no-such-helper"));
        // One that is there for every host hinders none that needs nobody.
        assert_eq!(config.find("s.example").await.unwrap(), None);
        assert_eq!(config.helper_of("s.example").as_deref(), Some("docker-credential-nor-this"));
    }
}
