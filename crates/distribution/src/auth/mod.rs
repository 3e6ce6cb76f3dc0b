//! Who we are at a host: challenges answered, tokens kept for as long as they are good.
//!
//! A host that answers 401 says how it wants to be asked (RFC 9110, 11.6.1). `Basic` gets the credential itself;
//! `Bearer` gets a token, which is fetched from the realm it names, once per scope, whoever waits for it.

mod challenge;
mod credentials;
mod docker_config;
mod elsewhere;
mod token;

use crate::http::{Client, Response, is_within};
use challenge::{Challenge, Scheme};
pub use credentials::{Anonymous, Answer, Credential, Credentials, Fixed};
pub use docker_config::DockerConfig;
pub(crate) use elsewhere::Elsewhere;
use model::{Error, Kind, Result};
use reqwest::header::HeaderMap;
use std::{
    collections::{BTreeSet, HashMap},
    sync::Arc,
    time::Instant,
};
use token::Realm;
use tokio::sync::Mutex;

/// Answers the challenges of one host.
#[derive(Debug)]
pub(crate) struct Authorizer {
    client: Client,
    authority: String,
    /// What is configured to be sent with every request to the host.
    headers: HeaderMap,
    credentials: Arc<dyn Credentials>,
    state: Mutex<Option<State>>,
}

#[derive(Debug)]
enum State {
    Header(String),
    Bearer { realm: Box<Realm>, credential: Option<Credential>, tokens: HashMap<BTreeSet<String>, Token> },
}

#[derive(Clone, Debug)]
struct Token {
    header: String,
    expires: Option<Instant>,
}

impl Authorizer {
    pub(crate) fn new(
        client: Client,
        authority: String,
        headers: HeaderMap,
        credentials: Arc<dyn Credentials>,
    ) -> Self {
        Self { client, authority, headers, credentials, state: Mutex::new(None) }
    }

    /// The `Authorization` header for a request that needs `scopes`; `None` until the host has challenged us.
    pub(crate) async fn header(&self, scopes: &BTreeSet<String>) -> Result<Option<String>> {
        // Held while a token is fetched, so that many requests at once fetch it once.
        let mut state = self.state.lock().await;
        match state.as_mut() {
            None => Ok(None),
            Some(State::Header(header)) => Ok(Some(header.clone())),
            Some(State::Bearer { realm, credential, tokens }) => {
                if let Some(token) = tokens.get(scopes)
                    && token.expires.is_none_or(|expires| expires > Instant::now())
                {
                    return Ok(Some(token.header.clone()));
                }
                let mut wanted = scopes.clone();
                wanted.extend(realm.scopes.iter().cloned());
                let fetched = token::fetch(&self.client, realm, &wanted, credential.as_ref())
                    .await
                    .map_err(|error| error.context(format!("authorize at {}", self.authority)))?;
                let token = Token { header: format!("Bearer {}", fetched.token), expires: fetched.expires };
                tokens.insert(scopes.clone(), token.clone());
                Ok(Some(token.header))
            }
        }
    }

    /// Learns from `response`, a 401 of this host's own, how to authorize; `refused` is the header that was sent with the
    /// request, if any. A token that is refused, even for what it does not cover, is fetched anew for the scopes of this
    /// challenge.
    ///
    /// # Errors
    /// `Unauthenticated` when the same answer would be refused again.
    pub(crate) async fn challenged(&self, response: &Response, refused: Option<&str>, repository: &str) -> Result<()> {
        let headers = response.headers();
        let challenges = Challenge::parse_all(headers);
        let mut state = self.state.lock().await;
        if refused.is_some() {
            self.forget(&mut state, refused)?;
        }
        if state.is_some() {
            return Ok(()); // another request has learned it meanwhile
        }
        let credential = self.credentials.of(&self.authority, repository, &raw(headers)).await?;
        *state = Some(match (&credential, pick(&challenges)) {
            (Some(Credential::Header(header)), _) => State::Header(header.clone()),
            (Some(Credential::Token(token)), _) => State::Header(format!("Bearer {token}")),
            (_, Some(Challenge { scheme: Scheme::Bearer, parameters })) => {
                let mut realm = Realm::of(parameters, &self.authority)?;
                if is_within(response.url(), &realm.url) {
                    realm.headers = self.headers.clone();
                }
                State::Bearer { realm: Box::new(realm), credential, tokens: HashMap::new() }
            }
            (Some(Credential::Basic { username, password }), Some(Challenge { scheme: Scheme::Basic, .. })) => {
                State::Header(basic(username, password))
            }
            (_, Some(_)) => return Err(self.refused("no credential for basic authentication")),
            (_, None) => return Err(self.refused("no supported authentication scheme is offered")),
        });
        Ok(())
    }

    /// Drops what was just refused.
    fn forget(&self, state: &mut Option<State>, refused: Option<&str>) -> Result<()> {
        match state {
            Some(State::Bearer { tokens, .. }) => {
                let before = tokens.len();
                tokens.retain(|_, token| Some(token.header.as_str()) != refused);
                if tokens.len() == before {
                    return Ok(()); // refused with an older token: there is a newer one
                }
                // The realm or the scopes may have changed with the challenge.
                *state = None;
                Ok(())
            }
            Some(State::Header(header)) if Some(header.as_str()) == refused => {
                Err(self.refused("the credential was refused"))
            }
            // Refused with a token of before.
            Some(State::Header(_)) | None => Ok(()),
        }
    }

    fn refused(&self, why: &str) -> Error {
        Error::new(Kind::Unauthenticated, format!("authorization at {} failed: {why}", self.authority))
    }
}

/// The strongest scheme we know: bearer before basic.
fn pick(challenges: &[Challenge]) -> Option<&Challenge> {
    let of = |scheme| challenges.iter().find(|challenge| challenge.scheme == scheme);
    of(Scheme::Bearer).or_else(|| of(Scheme::Basic))
}

fn raw(headers: &HeaderMap) -> Vec<String> {
    let values = headers.get_all(reqwest::header::WWW_AUTHENTICATE);
    values.iter().filter_map(|value| value.to_str().ok()).map(str::to_owned).collect()
}

fn basic(username: &str, password: &str) -> String {
    use base64::Engine as _;
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(format!("{username}:{password}")))
}
