//! One request to one host: authorized, redirected, and sent again when that may help.

use super::{Endpoint, Repository};
use crate::{
    hosts::port_of,
    http::{self, Failure, Pieces, REDIRECTS, Refusal, Response, is_within, retry_after, shown, status_kind},
};
use bytes::Bytes;
use model::{Error, Kind, Result};
use reqwest::{
    Method, StatusCode, Url,
    header::{
        ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_LOCATION, CONTENT_TYPE, COOKIE, HeaderMap, HeaderName,
        HeaderValue, LOCATION, RANGE, SET_COOKIE,
    },
};
use std::{
    collections::BTreeSet,
    fmt,
    time::{Duration, Instant},
};

/// Most bytes of an error that are shown.
const SHOWN: usize = 2 << 10;
/// Bytes of a body that are handed over at a time: so much must be taken within the bound on progress.
const PIECE: usize = 64 << 10;

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

/// As it may be shown.
impl fmt::Display for Request {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.method, shown(&self.url))
    }
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

    pub(super) fn media_type(mut self, media_type: &str) -> Result<Self> {
        let media_type = HeaderValue::try_from(media_type)
            .map_err(|error| Error::invalid_argument(format!("media type {media_type:?}")).caused_by(error))?;
        self.headers.insert(CONTENT_TYPE, media_type);
        Ok(self)
    }

    pub(super) fn body(mut self, media_type: &str, body: Bytes) -> Result<Self> {
        self.body = Some(body);
        self.media_type(media_type)
    }

    /// Whether a redirect by `status` asks for the same request at another place: one with a body might be meant to
    /// become a GET (RFC 9110, 15.4).
    fn may_follow(&self, status: StatusCode) -> bool {
        let is_empty = self.body.as_ref().is_none_or(Bytes::is_empty);
        is_empty || matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT)
    }

    /// Its body, to be sent once more.
    fn pieces(&self) -> Option<(u64, Pieces)> {
        let body = self.body.clone()?;
        let size = body.len();
        let pieces = (0..size).step_by(PIECE).map(move |at| Ok(body.slice(at..size.min(at + PIECE))));
        Some((size as u64, Box::pin(tokio_stream::iter(pieces))))
    }
}

impl Endpoint {
    /// Whether `url` is this host's own. What we are here, and what is configured for it, is sent nowhere else.
    pub(super) fn is_home(&self, url: &Url) -> bool {
        Url::parse(&self.url("")).is_ok_and(|home| is_within(&home, url))
    }

    /// A URL that this host gave us, `text`, relative to `base`. One of its own that lacks the `s` of `https` is taken
    /// to have it: such a registry does not know of the proxy before it that ends TLS. So is one that begins with the
    /// host, without any scheme.
    pub(super) fn join(&self, base: &Url, text: &str) -> Result<Url> {
        let is_bare = text.strip_prefix(&self.host.authority).is_some_and(|rest| rest.starts_with('/'));
        let url = if is_bare { base.join(&format!("//{text}")) } else { base.join(text) };
        let url = url.map_err(|error| Error::unknown(format!("bad location {:?}", shown(text))).caused_by(error))?;
        let mut safe = url.clone();
        Ok(if safe.set_scheme("https").is_ok() && self.is_home(&safe) && !self.is_home(&url) { safe } else { url })
    }

    /// `url` as it is to be reached: in the clear, if it is this host's own and the host has turned out to know no TLS.
    fn reached(&self, url: &str) -> Result<Url> {
        let mut url = Url::parse(url)
            .map_err(|error| Error::invalid_argument(format!("URL {:?}", shown(url))).caused_by(error))?;
        if self.is_plain() && self.is_home(&url) {
            to_plain(&mut url)?;
        }
        Ok(url)
    }

    /// Whether this host is to be asked in the clear: it may be, it has never spoken TLS, and `failure` says that it
    /// knows none, or that nobody is at the port of TLS where none was named.
    fn falls_back(&self, failure: &Failure) -> bool {
        self.host.http_fallback
            && self.plain.get() != Some(&false)
            && (failure.is_not_tls() || (port_of(&self.host.authority).is_none() && failure.is_unreachable()))
    }

    /// Sends `request` to `url` once, with an `authorization` that is for its host, and a `body` of so many bytes.
    async fn exchange(
        &self,
        request: &Request,
        url: &Url,
        authorization: Option<&str>,
        body: Option<(u64, Pieces)>,
    ) -> Result<Response, Failure> {
        let mut builder = self.client.request(request.method.clone(), url.clone()).headers(request.headers.clone());
        if self.is_home(url) {
            // What a challenge asks for takes the place of what is configured.
            let sent = self.headers.iter().filter(|(name, _)| authorization.is_none() || **name != AUTHORIZATION);
            for (name, value) in sent {
                builder = builder.header(name, value);
            }
        }
        if let Some(authorization) = authorization {
            builder = builder.header(AUTHORIZATION, authorization);
        }
        if body.is_some() || request.method == Method::POST || request.method == Method::PUT {
            builder = builder.header(CONTENT_LENGTH, body.as_ref().map_or(0, |(size, _)| *size));
        }
        self.tell(|| lines(&format!("> {} {}", request.method, shown(url.as_str())), '>', &request.headers));
        let start = Instant::now();
        let response = self.client.send(builder, body.map(|(_, pieces)| pieces)).await?;
        if url.scheme() == "https" && self.is_home(url) {
            // An error means that it is known already.
            let _ = self.plain.set(false);
        }
        self.observed.trace(&connection(&response, start.elapsed()));
        let (status, version) = (response.status(), response.version());
        self.tell(|| lines(&format!("< {version:?} {status} {}", shown(url.as_str())), '<', response.headers()));
        Ok(response)
    }

    /// Tells the observer, and the log.
    fn tell(&self, text: impl Fn() -> String) {
        tracing::debug!(target: "distribution::http", "{}", text().trim_end());
        self.observed.tell(text);
    }
}

impl Repository {
    /// The URL of `path` in this repository at `endpoint`; another host than the registry's is told which is meant.
    pub(super) fn url(&self, endpoint: &Endpoint, path: &str) -> String {
        let url = endpoint.url(&format!("{}/{path}", self.name));
        match self.namespace(endpoint) {
            Some(namespace) if url.contains('?') => format!("{url}&{namespace}"),
            Some(namespace) => format!("{url}?{namespace}"),
            None => url,
        }
    }

    /// `url`, which `endpoint` gave us, with what [`Self::url`] tells, if it is the host's own and does not say so.
    pub(super) fn told(&self, endpoint: &Endpoint, mut url: Url) -> Url {
        let is_said = url.query_pairs().any(|(name, _)| name == "ns");
        if let Some(namespace) = self.namespace(endpoint).filter(|_| !is_said && endpoint.is_home(&url)) {
            let query = url.query().map_or_else(|| namespace.clone(), |query| format!("{query}&{namespace}"));
            url.set_query(Some(&query));
        }
        url
    }

    /// What another host than the registry's is told with each request.
    fn namespace(&self, endpoint: &Endpoint) -> Option<String> {
        (!endpoint.host.is_of(&self.registry)).then(|| format!("ns={}", self.registry))
    }

    /// Sends until an answer comes that sending again would not better. Where another host can be asked, that is better
    /// than to wait: then this one is asked once, and after a failure not at all for a while.
    pub(super) async fn send(&self, endpoint: &Endpoint, request: &Request) -> Result<Response> {
        let patient = !self.has_stand_in(endpoint, request);
        if !patient {
            self.rests.is_over(&self.registry, &endpoint.host)?;
        }
        for attempt in 0.. {
            let start = Instant::now();
            let outcome = self.send_authorized(endpoint, request).await;
            let asked = match &outcome {
                Ok(response) => is_passing(response.status()).then(|| retry_after(response.headers())),
                Err(error) => passing(error),
            };
            let Some(asked) = asked else { return outcome };
            if !patient {
                self.rests.begin(&self.registry, &endpoint.host, &outcome, start.elapsed(), asked);
                return outcome;
            }
            // Who stalled has had its time.
            let stalled = matches!(&outcome, Err(error) if error.kind() == Kind::DeadlineExceeded);
            if stalled || attempt >= self.limits.retries {
                return outcome;
            }
            self.limits.wait(attempt, asked).await;
            tracing::debug!(%request, attempt, "sending again");
        }
        Err(Error::internal("no attempt was made"))
    }

    /// Whether a later host may be asked for the same: who needs no more than to pull, may pull elsewhere.
    fn has_stand_in(&self, endpoint: &Endpoint, request: &Request) -> bool {
        let reads = request.scopes.iter().all(|scope| scope.ends_with(":pull"));
        let here = endpoint.host.capabilities;
        let later = self.hosts.iter().skip_while(|other| !std::ptr::eq(*other, endpoint)).skip(1);
        reads
            && later.map(|other| other.host.capabilities).any(|there| {
                (there.pull || !here.pull) && (there.resolve || !here.resolve) && (there.referrers || !here.referrers)
            })
    }

    /// Sends, answering at most two challenges: one for want of a header, one for a header that has expired or says too
    /// little.
    pub(super) async fn send_authorized(&self, endpoint: &Endpoint, request: &Request) -> Result<Response> {
        for last in [false, false, true] {
            let header = endpoint.authorizer.header(&request.scopes).await?;
            let response = follow(endpoint, request, header.as_deref()).await?;
            // A 401 of another host is no challenge of ours.
            if response.status() != StatusCode::UNAUTHORIZED || last || !endpoint.is_home(response.url()) {
                return Ok(response);
            }
            endpoint.authorizer.challenged(&response, header.as_deref(), &self.name).await?;
        }
        Err(Error::internal("no attempt was made"))
    }

    /// Sends once, with a body of `size` bytes that can be had but once: challenges and redirects are not answered.
    pub(super) async fn send_once(
        &self,
        endpoint: &Endpoint,
        request: &Request,
        size: u64,
        body: Pieces,
    ) -> Result<Response> {
        let url = endpoint.reached(&request.url)?;
        let header = match endpoint.is_home(&url) {
            true => endpoint.authorizer.header(&request.scopes).await?,
            false => None,
        };
        let response = endpoint.exchange(request, &url, header.as_deref(), Some((size, body))).await;
        response.map_err(|failure| http::error(request.to_string(), &failure))
    }
}

/// Follows redirects, with `authorization` for as long as they stay home.
async fn follow(endpoint: &Endpoint, request: &Request, authorization: Option<&str>) -> Result<Response> {
    let mut url = endpoint.reached(&request.url)?;
    let mut is_challenged = false;
    for _ in 0..=REDIRECTS {
        let is_home = endpoint.is_home(&url);
        let authorization = match is_home {
            true => authorization.map(str::to_owned),
            false => endpoint.elsewhere.header(&url).await?,
        };
        let response = match endpoint.exchange(request, &url, authorization.as_deref(), request.pieces()).await {
            Ok(response) => response,
            Err(failure) if url.scheme() == "https" && is_home && endpoint.falls_back(&failure) => {
                // An error means that another request has found out as well.
                let _ = endpoint.plain.set(true);
                to_plain(&mut url)?;
                continue;
            }
            Err(failure) => return Err(http::error(request.to_string(), &failure)),
        };
        if response.status() == StatusCode::UNAUTHORIZED && !is_home && !is_challenged {
            is_challenged = true;
            match endpoint.elsewhere.challenged(&endpoint.client, &response, authorization.as_deref()).await {
                Ok(()) => continue,
                Err(error) => tracing::debug!(%error, "a host that we were sent to wants to know who we are"),
            }
        }
        match response.redirected()? {
            Some(next) if request.may_follow(response.status()) => url = next,
            _ => return Ok(response),
        }
    }
    Err(Error::unknown(format!("{request}: more than {REDIRECTS} redirects")))
}

fn to_plain(url: &mut Url) -> Result<()> {
    url.set_scheme("http").map_err(|()| Error::internal("http is a scheme"))
}

/// A first line, and one for each header.
fn lines(first: &str, mark: char, headers: &HeaderMap) -> String {
    let header = |(name, value): (&HeaderName, &HeaderValue)| {
        let text = String::from_utf8_lossy(value.as_bytes());
        let value = match *name {
            // Cookies and tokens are for nobody else.
            AUTHORIZATION | COOKIE | SET_COOKIE => "…".into(),
            LOCATION | CONTENT_LOCATION => shown(&text).into(),
            _ => text,
        };
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

/// Whether what a host answers may pass on its own.
fn is_passing(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
}

/// Whether what caused `error` may pass on its own, and the wait that the host asked for.
pub(super) fn passing(error: &Error) -> Option<Option<Duration>> {
    matches!(error.kind(), Kind::Unavailable | Kind::DeadlineExceeded).then(|| Refusal::wait_of(error))
}

/// The error that an unwanted answer is, with what the registry said of it.
pub(super) async fn refused(what: &str, response: Response) -> Error {
    let (status, url, headers) = (response.status(), shown(response.url().as_str()), response.headers().clone());
    let body = match http::read_bounded(response, 64 << 10, what).await {
        Ok(body) => String::from_utf8_lossy(&body[..body.len().min(SHOWN)]).trim().to_owned(),
        Err(_) => String::new(),
    };
    let said = if body.is_empty() { String::new() } else { format!(": {body}") };
    let refusal = Refusal::new(format!("unexpected status from {url}: {status}{said}"), &headers);
    Error::new(status_kind(status), what).caused_by(refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_registry_behind_a_proxy_is_spoken_to_as_before() {
        let host = crate::hosts::Host::new("https", "r.example:5000");
        let credentials: std::sync::Arc<dyn crate::Credentials> = std::sync::Arc::new(crate::Anonymous);
        let here = Endpoint::new(host, &credentials, &http::Limits::default()).unwrap();
        let base = Url::parse("https://r.example:5000/v2/a/blobs/uploads/").unwrap();
        for (given, expected, is_home) in [
            ("/v2/x?s=t", "https://r.example:5000/v2/x?s=t", true),
            ("http://r.example:5000/v2/x?s=t", "https://r.example:5000/v2/x?s=t", true),
            ("https://r.example:5000/v2/x", "https://r.example:5000/v2/x", true),
            ("http://r.example/v2/x", "http://r.example/v2/x", false),
            ("http://s.example:5000/v2/x", "http://s.example:5000/v2/x", false),
            ("https://s.example/v2/x", "https://s.example/v2/x", false),
        ] {
            let url = here.join(&base, given).unwrap();
            assert_eq!((url.as_str(), here.is_home(&url)), (expected, is_home), "{given}");
        }
    }

    #[test]
    fn signatures_and_cookies_are_not_told() {
        let headers = [("location", "https://b.example/x?sig=secret"), ("set-cookie", "secret"), ("etag", "told")];
        let headers = headers.map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)));
        let told = lines("<", '<', &HeaderMap::from_iter(headers));
        assert!(!told.contains("secret") && told.contains("etag: told"), "{told}");
        assert!(told.contains("location: https://b.example/x\n"), "{told}");
    }
}
