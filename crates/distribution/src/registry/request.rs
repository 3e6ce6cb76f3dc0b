//! One request to one host: authorized, redirected, and sent again when that may help.

use super::{Endpoint, Repository};
use crate::http::{self, status_kind};
use bytes::Bytes;
use model::{Error, Kind, Result};
use reqwest::{
    Method, Response, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, LOCATION, RANGE,
        SET_COOKIE,
    },
};
use std::{
    collections::BTreeSet,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

/// Most redirects in a row.
pub(super) const REDIRECTS: usize = 10;
/// Most bytes of an error that are shown.
const SHOWN: usize = 2 << 10;
/// First wait before a request is sent again; it doubles.
pub(super) const BACK_OFF: Duration = Duration::from_millis(200);

/// A request that can be sent more than once.
#[derive(Clone, Debug)]
pub(super) struct Request {
    pub(super) method: Method,
    /// Whole URL.
    pub(super) url: String,
    pub(super) headers: HeaderMap,
    pub(super) body: Option<Bytes>,
    pub(super) scopes: BTreeSet<String>,
}

impl Request {
    pub(super) fn new(method: Method, url: String, scope: String) -> Self {
        Self { method, url, headers: HeaderMap::new(), body: None, scopes: BTreeSet::from([scope]) }
    }

    pub(super) fn accept(mut self, types: &'static str) -> Self {
        self.headers.insert(ACCEPT, HeaderValue::from_static(types));
        self
    }

    /// Asks for `media_type` before anything else, if there is one.
    pub(super) fn prefer(mut self, media_type: Option<&str>) -> Result<Self> {
        if let Some(media_type) = media_type {
            let types = HeaderValue::try_from(format!("{media_type}, */*"))
                .map_err(|error| Error::invalid_argument(format!("media type {media_type:?}")).caused_by(error))?;
            self.headers.insert(ACCEPT, types);
        }
        Ok(self)
    }

    pub(super) fn range(mut self, from: u64, to: Option<u64>) -> Self {
        let to = to.map(|to| to.to_string()).unwrap_or_default();
        if let Ok(value) = HeaderValue::try_from(format!("bytes={from}-{to}")) {
            self.headers.insert(RANGE, value);
        }
        self
    }

    pub(super) fn body(mut self, media_type: &str, body: Bytes) -> Result<Self> {
        let media_type = HeaderValue::try_from(media_type)
            .map_err(|error| Error::invalid_argument(format!("media type {media_type:?}")).caused_by(error))?;
        self.headers.insert(CONTENT_TYPE, media_type);
        self.body = Some(body);
        Ok(self)
    }
}

impl Repository {
    /// The URL of `path` in this repository at `endpoint`; another host than the registry's is told which is meant.
    pub(super) fn url(&self, endpoint: &Endpoint, path: &str) -> String {
        let url = endpoint.url(&format!("{}/{path}", self.name));
        if !endpoint.host.is_of(&self.registry) {
            let separator = if url.contains('?') { '&' } else { '?' };
            return format!("{url}{separator}ns={}", self.registry);
        }
        url
    }

    /// Sends until an answer comes that sending again would not better.
    pub(super) async fn send(&self, endpoint: &Endpoint, request: &Request) -> Result<Response> {
        let mut wait = BACK_OFF;
        for attempt in 0.. {
            let outcome = self.send_authorized(endpoint, request).await;
            let again = match &outcome {
                Ok(response) => passing(response.status()).then(|| retry_after(response)),
                Err(error) => matches!(error.kind(), Kind::Unavailable).then_some(None),
            };
            let Some(asked) = again.filter(|_| attempt < self.limits.retries) else { return outcome };
            let asked = asked.unwrap_or(wait).min(self.limits.retry_after);
            tracing::debug!(url = request.url, wait = ?asked, attempt, "sending again");
            tokio::time::sleep(asked).await;
            wait *= 2;
        }
        Err(Error::internal("no attempt was made"))
    }

    /// Sends, answering at most two challenges: one for want of a header, one for a header that has expired.
    pub(super) async fn send_authorized(&self, endpoint: &Endpoint, request: &Request) -> Result<Response> {
        for last in [false, false, true] {
            let header = endpoint.authorizer.header(&request.scopes).await?;
            let response = follow(endpoint, request, header.as_deref()).await?;
            // A 401 of a host we were redirected to is no challenge of ours.
            let at_home = Url::parse(&request.url).is_ok_and(|url| url.authority() == response.url().authority());
            if response.status() != StatusCode::UNAUTHORIZED || last || !at_home {
                return Ok(response);
            }
            endpoint.authorizer.challenged(response.headers(), header.as_deref(), &self.name).await?;
        }
        Err(Error::internal("no attempt was made"))
    }
}

/// Follows redirects; what is ours to know is sent to no other host.
async fn follow(endpoint: &Endpoint, request: &Request, authorization: Option<&str>) -> Result<Response> {
    let what = || format!("{} {}", request.method, request.url);
    let parse = |text: &str| {
        Url::parse(text).map_err(|error| Error::invalid_argument(format!("URL {text:?}")).caused_by(error))
    };
    let to_plain = |url: &mut Url| url.set_scheme("http").map_err(|()| Error::internal("http is a scheme"));
    let mut home = parse(&request.url)?;
    if endpoint.plain.load(Ordering::Relaxed) {
        to_plain(&mut home)?;
    }
    let mut url = home.clone();
    for _ in 0..=REDIRECTS {
        let mut builder = endpoint.client.request(request.method.clone(), url.clone()).headers(request.headers.clone());
        if same_host(&home, &url) {
            for (name, value) in &endpoint.host.headers {
                if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
                    builder = builder.header(name, value);
                }
            }
            if let Some(authorization) = authorization {
                builder = builder.header(AUTHORIZATION, authorization);
            }
        }
        builder = match &request.body {
            Some(body) => builder.body(body.clone()),
            None if request.method == Method::POST || request.method == Method::PUT => {
                builder.header(CONTENT_LENGTH, 0)
            }
            None => builder,
        };
        tracing::debug!(target: "distribution::http", method = %request.method, url = %shown(&url), headers = ?request.headers, "request");
        endpoint.observed.tell(|| lines(&format!("> {} {}", request.method, shown(&url)), '>', &request.headers));
        let start = Instant::now();
        let response = match builder.send().await {
            Ok(response) => {
                endpoint.observed.trace(&connection(&response, start.elapsed()));
                let (status, headers) = (response.status(), response.headers());
                endpoint
                    .observed
                    .tell(|| lines(&format!("< {:?} {status} {}", response.version(), shown(&url)), '<', headers));
                tracing::debug!(target: "distribution::http", %status, url = %shown(&url), ?headers, "answer");
                response
            }
            Err(error) if url == home && falls_back(endpoint, &url, &error) => {
                endpoint.plain.store(true, Ordering::Relaxed);
                to_plain(&mut home)?;
                url = home.clone();
                continue;
            }
            Err(error) => return Err(http::error(what(), &error)),
        };
        if !response.status().is_redirection() || request.body.is_some() {
            return Ok(response);
        }
        let Some(location) = response.headers().get(LOCATION).and_then(|value| value.to_str().ok()) else {
            return Ok(response);
        };
        let next = response.url().join(location);
        url =
            next.map_err(|error| Error::unknown(format!("{}: redirected to {location:?}", what())).caused_by(error))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(Error::unknown(format!("{}: redirected to a URL of scheme {}", what(), url.scheme())));
        }
    }
    Err(Error::unknown(format!("{}: more than {REDIRECTS} redirects", what())))
}

/// A first line, and one for each header.
fn lines(first: &str, mark: char, headers: &HeaderMap) -> String {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        // Cookies and tokens are for nobody else.
        let secret = value.is_sensitive() || *name == AUTHORIZATION || *name == SET_COOKIE;
        let value = if secret { "…".into() } else { String::from_utf8_lossy(value.as_bytes()) };
        format!("{mark} {name}: {value}\n")
    };
    format!("{first}\n{}\n", headers.iter().map(header).collect::<String>())
}

/// The connection that an answer came by, and how long its first byte took.
fn connection(response: &Response, elapsed: Duration) -> String {
    let address = response.remote_addr().map_or_else(|| "an unknown address".to_owned(), |address| address.to_string());
    let (host, version) = (response.url().authority(), response.version());
    format!("{host}: connected to {address}, {version:?}, first byte of the answer after {elapsed:.1?}")
}

/// Whether the handshake failed with a host that may speak plain HTTP. Nothing was sent yet.
fn falls_back(endpoint: &Endpoint, url: &Url, error: &reqwest::Error) -> bool {
    endpoint.host.http_fallback && url.scheme() == "https" && error.is_connect() && !error.is_timeout()
}

fn same_host(one: &Url, other: &Url) -> bool {
    let schemes = [one.scheme(), other.scheme()];
    one.host_str() == other.host_str()
        && one.port_or_known_default() == other.port_or_known_default()
        // From http to https at one host nothing is given away; the other way it would be.
        && schemes != ["https", "http"]
}

/// Whether a status may pass on its own.
fn passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// What `Retry-After` asks for, in seconds (RFC 9110, 10.2.3); its date form is rare and taken as a second.
fn retry_after(response: &Response) -> Option<Duration> {
    let value = response.headers().get(reqwest::header::RETRY_AFTER)?.to_str().ok()?;
    Some(value.trim().parse().map_or(Duration::from_secs(1), Duration::from_secs))
}

/// The error that an unwanted answer is, with what the registry said of it.
pub(super) async fn refused(what: &str, response: Response) -> Error {
    let (status, url) = (response.status(), response.url().clone());
    let body = match http::read_bounded(response, 64 << 10, what).await {
        Ok(body) => String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).trim().to_owned(),
        Err(_) => String::new(),
    };
    let said = if body.is_empty() { String::new() } else { format!(": {body}") };
    Error::new(status_kind(status), format!("{what}: unexpected status from {}: {status}{said}", shown(&url)))
}

/// A URL fit to be shown: a query may hold a signature that is as good as a password.
pub(super) fn shown(url: &Url) -> Url {
    let mut shown = url.clone();
    shown.set_query(None);
    shown
}
