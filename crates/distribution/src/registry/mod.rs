//! One repository of a registry: resolve, fetch, push, list, delete (OCI distribution spec 1.1).
//!
//! Every read goes to the hosts that serve the registry in order, and to the next when one fails. Writes go to the
//! hosts that may be pushed to, without that: half a push on each would help nobody.

mod fetch;
mod list;
mod push;
mod request;
mod resolve;
mod rest;
mod send;
mod uploads;

use crate::{
    auth::{Authorizer, Credentials, Elsewhere},
    hosts::{Capabilities, Host, Hosts},
    http::{self, Client, Limits},
    observer::{Observed, Observer},
};
pub use fetch::{Blob, Body};
use model::{Digest, Error, Kind, Result};
pub use push::{Mounted, Upload};
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
pub use resolve::{Document, Resolved};
pub use rest::Rests;
use std::sync::{Arc, OnceLock};
pub use uploads::{Place, Uploads};

/// One repository, as the hosts that serve its registry show it.
#[derive(Debug)]
pub struct Repository {
    /// Registry, as in the reference: what a mirror is told.
    registry: String,
    /// Name within the registry, `library/busybox`.
    name: String,
    hosts: Vec<Endpoint>,
    limits: Limits,
    rests: Rests,
}

/// A host with its connections and what we are there.
#[derive(Debug)]
struct Endpoint {
    host: Host,
    client: Client,
    /// What is configured to be sent with every request to it.
    headers: HeaderMap,
    authorizer: Authorizer,
    /// What we are at hosts that it sends us to.
    elsewhere: Elsewhere,
    /// Whether it knows no TLS, where plain HTTP may be used; not set before it has shown that.
    plain: OnceLock<bool>,
    observed: Observed,
}

impl Repository {
    /// The repository `name` of `registry`. Nothing is dialled yet.
    ///
    /// # Errors
    /// `InvalidArgument` for a name that is none, or a host that is badly configured.
    pub fn open(
        registry: &str,
        name: &str,
        hosts: &Hosts,
        credentials: &Arc<dyn Credentials>,
        limits: Limits,
    ) -> Result<Self> {
        Self::at(registry, name, hosts.of(registry)?, credentials, limits)
    }

    /// The repository `name` of `registry` as `hosts` serve it, the first to try first.
    ///
    /// # Errors
    /// As of [`Self::open`].
    pub fn at(
        registry: &str,
        name: &str,
        hosts: Vec<Host>,
        credentials: &Arc<dyn Credentials>,
        limits: Limits,
    ) -> Result<Self> {
        check_name(name)?;
        let endpoints = hosts.into_iter().map(|host| Endpoint::new(host, credentials, &limits));
        Ok(Self {
            registry: registry.to_owned(),
            name: name.to_owned(),
            hosts: endpoints.collect::<Result<_>>()?,
            limits,
            rests: Rests::default(),
        })
    }

    /// The registry, as in the reference.
    pub fn registry(&self) -> &str {
        &self.registry
    }

    /// The name within the registry.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The same, with hosts left alone that failed others who share `rests`.
    #[must_use]
    pub fn with_rests(self, rests: &Rests) -> Self {
        Self { rests: rests.clone(), ..self }
    }

    /// The same, with `observer` told of its requests.
    #[must_use]
    pub fn observed(self, observer: &Arc<dyn Observer>) -> Self {
        self.hosts.iter().for_each(|host| host.observed.by(observer));
        self
    }

    /// The hosts that serve it, in the order they are tried.
    pub fn hosts(&self) -> impl Iterator<Item = &Host> {
        self.hosts.iter().map(|endpoint| &endpoint.host)
    }

    fn able(&self, what: &str, able: impl Fn(&Capabilities) -> bool) -> Result<Vec<&Endpoint>> {
        let found: Vec<_> = self.hosts.iter().filter(|endpoint| able(&endpoint.host.capabilities)).collect();
        if found.is_empty() {
            return Err(Error::not_found(format!("registry {}: no host is configured to {what}", self.registry)));
        }
        Ok(found)
    }

    /// What the first of `hosts` that has it answers to `ask`.
    ///
    /// # Errors
    /// What [`telling`] chooses of the hosts' errors.
    async fn first<'a, T, F>(&self, hosts: Vec<&'a Endpoint>, ask: impl Fn(&'a Endpoint) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut told = None;
        for endpoint in hosts {
            match ask(endpoint).await {
                Ok(answer) => return Ok(answer),
                Err(error) => {
                    tracing::debug!(host = %endpoint.host, %error, "does not serve it");
                    told = Some(telling(told, error));
                }
            }
        }
        Err(told.unwrap_or_else(|| Error::not_found(format!("{}/{}: no host", self.registry, self.name))))
    }

    fn scope(&self, actions: &str) -> String {
        format!("repository:{}:{actions}", self.name)
    }
}

/// Which of two hosts' errors tells more: the first that is a refusal, for that somebody can do something about; else
/// the later one, for the last host is the registry itself, and a mirror may lack what it has.
fn telling(earlier: Option<Error>, later: Error) -> Error {
    let tells_nothing = |kind| matches!(kind, Kind::NotFound | Kind::Unavailable | Kind::DeadlineExceeded);
    earlier.filter(|error| !tells_nothing(error.kind())).unwrap_or(later)
}

impl Endpoint {
    fn new(host: Host, credentials: &Arc<dyn Credentials>, limits: &Limits) -> Result<Self> {
        let observed = Observed::default();
        let client = http::client(&host, limits, &observed)?;
        let mut headers = HeaderMap::new();
        for (name, value) in &host.headers {
            let bad = || Error::invalid_argument(format!("header {name:?} for {host} is none that HTTP has"));
            let value = HeaderValue::try_from(value).map_err(|error| bad().caused_by(error))?;
            headers.append(HeaderName::try_from(name).map_err(|error| bad().caused_by(error))?, value);
        }
        let authorizer =
            Authorizer::new(client.clone(), host.authority.clone(), headers.clone(), Arc::clone(credentials));
        let elsewhere = Elsewhere::default();
        Ok(Self { host, client, headers, authorizer, elsewhere, plain: OnceLock::new(), observed })
    }

    fn is_plain(&self) -> bool {
        self.plain.get() == Some(&true)
    }

    /// The URL of `path` below the API's root.
    fn url(&self, path: &str) -> String {
        let scheme = if self.is_plain() { "http" } else { self.host.scheme.as_str() };
        format!("{scheme}://{}{}/{path}", self.host.authority, self.host.path)
    }
}

/// Path components of lower-case letters and digits, joined by separators (distribution spec, pulling manifests).
fn check_name(name: &str) -> Result<()> {
    let good = |part: &str| {
        part.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.ends_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit())
            && part.bytes().all(|byte| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'.' | b'_' | b'-'))
            && !part.contains("..")
    };
    if name.len() <= 255 && name.split('/').all(good) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("repository name {name:?} is not valid")))
}

/// A tag or a digest, checked: it becomes part of a URL.
fn check_object(object: &str) -> Result<()> {
    if object.contains(':') {
        return object.parse::<Digest>().map(drop);
    }
    let good = object.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
    if good && (1..=128).contains(&object.len()) && !object.starts_with(['.', '-']) {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("tag {object:?} is not valid")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_tags_cannot_leave_the_repository() {
        for good in ["a", "library/busybox", "a/b/c-d_e.f"] {
            assert!(check_name(good).is_ok(), "{good}");
        }
        for bad in ["", "A", "a//b", "../x", "a/..", "a/", "/a", "a?b", "a b", &"a".repeat(256)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
        for bad in ["", "..", "a/b", "a?b", "-a", "sha256:zz", &"a".repeat(129)] {
            assert!(check_object(bad).is_err(), "{bad}");
        }
        assert!(check_object("v1.0-rc_1").is_ok());
    }
}
