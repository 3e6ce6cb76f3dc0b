//! Fetching a bearer token from the realm that a challenge names.
//!
//! With a secret by POST (distribution spec, auth/oauth), or by GET where the realm knows no POST or nobody has a
//! secret (auth/token).

use super::Credential;
use crate::http::read_bounded;
use model::{Error, Kind, Result};
use reqwest::StatusCode;
use serde::Deserialize;
use std::{
    collections::{BTreeSet, HashMap},
    time::{Duration, Instant},
};

const CLIENT_ID: &str = "containerd-client";
/// Most bytes of a realm's answer.
const MAX: usize = 1 << 20;
/// Tokens are renewed this long before they end, so that none ends on its way.
const MARGIN: Duration = Duration::from_secs(5);

/// Where tokens come from.
#[derive(Clone, Debug)]
pub(super) struct Realm {
    url: String,
    service: String,
    /// Scopes of the challenge, asked for beside the request's own.
    pub(super) scopes: Vec<String>,
}

pub(super) struct Fetched {
    pub(super) token: String,
    pub(super) expires: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: u64,
}

impl Realm {
    pub(super) fn of(parameters: &HashMap<String, String>, authority: &str) -> Result<Self> {
        let bad = |why: &str| Error::new(Kind::Unauthenticated, format!("challenge of {authority}: {why}"));
        let url = parameters.get("realm").ok_or_else(|| bad("it names no realm"))?;
        if !url.starts_with("http://") && !url.starts_with("https://") {
            return Err(bad("its realm is not a URL"));
        }
        let scopes = parameters.get("scope").map(String::as_str).unwrap_or_default();
        Ok(Self {
            url: url.clone(),
            service: parameters.get("service").cloned().unwrap_or_default(),
            scopes: scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
        })
    }
}

pub(super) async fn fetch(
    client: &reqwest::Client,
    realm: &Realm,
    scopes: &BTreeSet<String>,
    credential: Option<&Credential>,
) -> Result<Fetched> {
    if let Some(credential) = credential {
        match post(client, realm, scopes, credential).await {
            // Realms without support for POST answer in several ways.
            Err(Refused::Status(400 | 401 | 404 | 405)) if !matches!(credential, Credential::Identity(_)) => {}
            outcome => return outcome.map_err(|refused| refused.error(realm)),
        }
    }
    get(client, realm, scopes, credential).await.map_err(|refused| refused.error(realm))
}

enum Refused {
    Status(u16),
    Other(Error),
}

impl Refused {
    fn error(self, realm: &Realm) -> Error {
        match self {
            Self::Status(code) => {
                let kind = match code {
                    401 => Kind::Unauthenticated,
                    403 => Kind::PermissionDenied,
                    429 | 500.. => Kind::Unavailable,
                    _ => Kind::Unknown,
                };
                Error::new(kind, format!("fetch a token from {}: unexpected status {code}", realm.url))
            }
            Self::Other(error) => error.context(format!("fetch a token from {}", realm.url)),
        }
    }
}

async fn post(
    client: &reqwest::Client,
    realm: &Realm,
    scopes: &BTreeSet<String>,
    credential: &Credential,
) -> Result<Fetched, Refused> {
    let scope = scopes.iter().map(String::as_str).collect::<Vec<_>>().join(" ");
    let mut form = vec![("service", realm.service.as_str()), ("client_id", CLIENT_ID)];
    if !scope.is_empty() {
        form.push(("scope", &scope));
    }
    match credential {
        Credential::Basic { username, password } => {
            form.extend([("grant_type", "password"), ("username", username), ("password", password)]);
        }
        Credential::Identity(token) => form.extend([("grant_type", "refresh_token"), ("refresh_token", token)]),
        Credential::Token(_) | Credential::Header(_) => {
            return Err(Refused::Other(Error::internal("this credential needs no token")));
        }
    }
    read(client.post(&realm.url).form(&form)).await
}

async fn get(
    client: &reqwest::Client,
    realm: &Realm,
    scopes: &BTreeSet<String>,
    credential: Option<&Credential>,
) -> Result<Fetched, Refused> {
    let mut query: Vec<(&str, &str)> = scopes.iter().map(|scope| ("scope", scope.as_str())).collect();
    if !realm.service.is_empty() {
        query.push(("service", &realm.service));
    }
    let mut request = client.get(&realm.url).query(&query);
    if let Some(Credential::Basic { username, password }) = credential {
        request = request.basic_auth(username, Some(password));
    }
    read(request).await
}

async fn read(request: reqwest::RequestBuilder) -> Result<Fetched, Refused> {
    let response = request.send().await.map_err(|error| Refused::Other(crate::http::error("token request", &error)))?;
    if response.status() != StatusCode::OK {
        return Err(Refused::Status(response.status().as_u16()));
    }
    let body = read_bounded(response, MAX, "token").await.map_err(Refused::Other)?;
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|error| Refused::Other(Error::unknown("the answer is not a token").caused_by(error)))?;
    let token = if answer.access_token.is_empty() { answer.token } else { answer.access_token };
    if token.is_empty() {
        return Err(Refused::Other(Error::unknown("the answer has no token")));
    }
    let lifetime = Duration::from_secs(answer.expires_in).saturating_sub(MARGIN);
    Ok(Fetched { token, expires: (answer.expires_in > 0).then(|| Instant::now() + lifetime) })
}
