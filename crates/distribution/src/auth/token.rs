//! Fetching a bearer token from the realm that a challenge names.
//!
//! With a secret by POST (distribution spec, auth/oauth), or by GET where the realm knows no POST or nobody has a
//! secret (auth/token). An identity token goes by GET after the answers 401 and 404 alone, as in containerd.

use super::{Credential, basic};
use crate::http::{self, Client, REDIRECTS, Refusal, Response, is_within, read_bounded, shown};
use model::{Error, Kind, Result};
use reqwest::{
    Method, RequestBuilder, Url,
    header::{AUTHORIZATION, HeaderMap, HeaderValue},
};
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
    pub(super) url: Url,
    service: String,
    /// Scopes of the challenge, asked for beside the request's own.
    pub(super) scopes: Vec<String>,
    /// What is sent with every request to it: nothing, unless it is at the registry's own host.
    pub(super) headers: HeaderMap,
}

pub(super) struct Fetched {
    pub(super) token: String,
    pub(super) expires: Option<Instant>,
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    /// Seconds.
    expires_in: Option<serde_json::Number>,
}

impl Realm {
    pub(super) fn of(parameters: &HashMap<String, String>, authority: &str) -> Result<Self> {
        let bad = |why: &str| Error::new(Kind::Unauthenticated, format!("challenge of {authority}: {why}"));
        let url = parameters.get("realm").ok_or_else(|| bad("it names no realm"))?;
        let url = Url::parse(url).ok().filter(|url| matches!(url.scheme(), "http" | "https"));
        let url = url.ok_or_else(|| bad("its realm is not a URL"))?;
        let scopes = parameters.get("scope").map(String::as_str).unwrap_or_default();
        Ok(Self {
            url,
            service: parameters.get("service").cloned().unwrap_or_default(),
            scopes: scopes.split(' ').filter(|scope| !scope.is_empty()).map(str::to_owned).collect(),
            headers: HeaderMap::new(),
        })
    }
}

pub(super) async fn fetch(
    client: &Client,
    realm: &Realm,
    scopes: &BTreeSet<String>,
    credential: Option<&Credential>,
) -> Result<Fetched> {
    if let Some(credential) = credential {
        match post(client, realm, scopes, credential).await {
            // Realms without support for POST answer in several ways, or send us where our secret is not taken.
            Err(Refused::Status(401 | 404, _)) => {}
            Err(Refused::Status(300..=399 | 400 | 405, _)) if !matches!(credential, Credential::Identity(_)) => {}
            outcome => return outcome.map_err(|refused| refused.error(realm)),
        }
    }
    get(client, realm, scopes, credential).await.map_err(|refused| refused.error(realm))
}

enum Refused {
    Status(u16, Refusal),
    Other(Error),
}

impl Refused {
    fn error(self, realm: &Realm) -> Error {
        let what = format!("fetch a token from {}", shown(realm.url.as_str()));
        match self {
            Self::Status(code, refusal) => {
                let kind = match code {
                    401 => Kind::Unauthenticated,
                    403 => Kind::PermissionDenied,
                    429 | 500.. => Kind::Unavailable,
                    _ => Kind::Unknown,
                };
                Error::new(kind, what).caused_by(refusal)
            }
            Self::Other(error) => error.context(what),
        }
    }
}

async fn post(
    client: &Client,
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
    // All of it is secret: it goes nowhere else.
    ask(client, &realm.url, false, |url, _| {
        client.request(Method::POST, url).headers(realm.headers.clone()).form(&form)
    })
    .await
}

async fn get(
    client: &Client,
    realm: &Realm,
    scopes: &BTreeSet<String>,
    credential: Option<&Credential>,
) -> Result<Fetched, Refused> {
    let mut url = realm.url.clone();
    // With nothing to add, there would be an empty query nevertheless.
    if !realm.service.is_empty() {
        url.query_pairs_mut().append_pair("service", &realm.service);
    }
    for scope in scopes {
        url.query_pairs_mut().append_pair("scope", scope);
    }
    ask(client, &url, true, |url, is_home| {
        let request = client.request(Method::GET, url);
        if !is_home {
            return request;
        }
        let mut headers = realm.headers.clone();
        let secret = match credential {
            Some(Credential::Basic { username, password }) => Some(basic(username, password)),
            // The password of nobody, as containerd sends it.
            Some(Credential::Identity(token)) => Some(basic("", token)),
            _ => None,
        };
        if let Some(value) = secret.and_then(|secret| HeaderValue::try_from(secret).ok()) {
            headers.insert(AUTHORIZATION, value);
        }
        request.headers(headers)
    })
    .await
}

/// Asks at `home`, and where that sends us; to another host only if we may go `away`. `request` makes a request to a
/// URL, and is told whether that is home still, for what is shown nowhere else.
async fn ask(
    client: &Client,
    home: &Url,
    away: bool,
    request: impl Fn(Url, bool) -> RequestBuilder,
) -> Result<Fetched, Refused> {
    let (mut url, mut left) = (home.clone(), REDIRECTS);
    loop {
        let is_home = is_within(home, &url);
        let response = client.send(request(url, is_home), None).await;
        let response = response.map_err(|failure| Refused::Other(http::error("token request", &failure)))?;
        match response.redirected().map_err(Refused::Other)? {
            Some(next) if left > 0 && (away || is_within(home, &next)) => (url, left) = (next, left - 1),
            _ => return read(response).await,
        }
    }
}

async fn read(response: Response) -> Result<Fetched, Refused> {
    if !response.status().is_success() {
        let code = response.status().as_u16();
        return Err(Refused::Status(code, Refusal::new(format!("unexpected status {code}"), response.headers())));
    }
    let body = read_bounded(response, MAX, "token").await.map_err(Refused::Other)?;
    let answer: Answer = serde_json::from_slice(&body)
        .map_err(|error| Refused::Other(Error::unknown("the answer is not a token").caused_by(error)))?;
    let token = [answer.access_token, answer.token].into_iter().flatten().find(|token| !token.is_empty());
    let token = token.ok_or_else(|| Refused::Other(Error::unknown("the answer has no token")))?;
    // What ends at no time that we can tell, or at none, is used until it is refused.
    let lifetime = answer.expires_in.and_then(|seconds| seconds.as_u64()).filter(|seconds| *seconds > 0);
    let expires =
        lifetime.and_then(|seconds| Instant::now().checked_add(Duration::from_secs(seconds).saturating_sub(MARGIN)));
    Ok(Fetched { token, expires })
}
