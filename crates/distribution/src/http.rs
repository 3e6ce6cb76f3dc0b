//! One HTTP client a host, with bounds on everything a peer may draw out.

use crate::{
    hosts::Host,
    observer::{Names, Observed},
    proxy::Proxies,
    tls,
};
use bytes::{Bytes, BytesMut};
use model::{Error, Kind, Result};
use reqwest::{
    Method, Proxy, RequestBuilder, StatusCode, Url,
    header::{HeaderMap, LOCATION, RETRY_AFTER},
    redirect::Policy,
};
use std::{
    error::Error as StdError,
    fmt, io,
    ops::Deref,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;
use tokio_stream::Stream;

/// Most redirects in a row.
pub(crate) const REDIRECTS: usize = 10;
/// First wait before a request is sent again.
const BACK_OFF: Duration = Duration::from_millis(200);

/// Bounds of a peer's patience and ours.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest that a connection may take, where the host sets none.
    pub connect: Duration,
    /// Longest without progress, be it a byte of the answer, or of our body that the peer takes: a dead or stalled
    /// peer is given up.
    pub progress: Duration,
    /// Longest that a peer may take to answer once it has the whole of a body: a registry makes a blob durable first,
    /// wherever it keeps it.
    pub settle: Duration,
    /// How often a request that failed in a passing way is sent again to the last host that may serve it.
    pub retries: u32,
    /// Longest wait that a `Retry-After` may ask for.
    pub retry_after: Duration,
    /// Most bytes of a manifest or index.
    pub document: usize,
}

impl Default for Limits {
    /// containerd's bounds, a minute without progress, and ten for an answer to a body.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            progress: Duration::from_secs(60),
            settle: Duration::from_secs(600),
            retries: 5,
            retry_after: Duration::from_secs(60),
            document: 8 << 20,
        }
    }
}

impl Limits {
    /// Waits before a request that has failed `before` times is sent again: as long as its host has `asked` for, else
    /// longer each time.
    pub(crate) async fn wait(&self, before: u32, asked: Option<Duration>) {
        let wait = asked.unwrap_or_else(|| BACK_OFF * 2_u32.saturating_pow(before)).min(self.retry_after);
        tracing::debug!(?wait, before, "waiting to send again");
        tokio::time::sleep(wait).await;
    }
}

/// Makes aws-lc the process's cryptography; call once, early. A second call changes nothing.
pub fn install_crypto() {
    // An error means that somebody chose one already, which serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client for `host`. Redirects are not followed by it: [`crate::registry`] does, and keeps credentials home.
pub(crate) fn client(host: &Host, limits: &Limits, observed: &Observed) -> Result<Client> {
    install_crypto();
    let proxies = Proxies::of_environment();
    let builder = reqwest::Client::builder()
        .user_agent(concat!("containerd/2.1.0+containerd-rs-", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .proxy(Proxy::custom(move |url| proxies.of(url)))
        .dns_resolver(Names(observed.clone()))
        // How long a peer may take no bytes, we watch ourselves; this ends what nobody watches any more, as a body whose
        // request was answered before its end.
        .tcp_user_timeout(limits.progress * 2)
        .pool_max_idle_per_host(8)
        .http2_adaptive_window(true)
        // A connection that is dead is left for a new one before a request by it counts as stalled.
        .http2_keep_alive_interval(limits.progress / 4)
        .http2_keep_alive_timeout(limits.progress / 3)
        .tls_backend_preconfigured(tls::config(&host.tls)?);
    let builder = match host.dial_timeout.unwrap_or(limits.connect) {
        Duration::ZERO => builder,
        timeout => builder.connect_timeout(timeout),
    };
    let inner = builder
        .build()
        .map_err(|error| Error::invalid_argument(format!("set up a client for {host}")).caused_by(error))?;
    Ok(Client { inner, progress: limits.progress, settle: limits.settle })
}

/// The connections to a host.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    inner: reqwest::Client,
    progress: Duration,
    settle: Duration,
}

/// A request's body, piece by piece.
pub(crate) type Pieces = Pin<Box<dyn Stream<Item = io::Result<Bytes>> + Send>>;

impl Client {
    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        self.inner.request(method, url)
    }

    /// Sends `request`, with `body` if there is one. Patience begins anew with each piece that the peer takes, and is
    /// longer after the last: reqwest's own bound would hold for the body as a whole.
    pub(crate) async fn send(&self, request: RequestBuilder, body: Option<Pieces>) -> Result<Response, Failure> {
        let taken = Arc::new(Taken::default());
        let request = match body {
            Some(pieces) => request.body(reqwest::Body::wrap_stream(Watched { pieces, taken: Arc::clone(&taken) })),
            None => request,
        };
        let mut answer = Box::pin(request.send());
        loop {
            let patience = if taken.whole.load(Ordering::Acquire) { self.settle } else { self.progress };
            tokio::select! {
                answer = &mut answer => {
                    return Ok(Response { inner: answer.map_err(Failure::of)?, progress: self.progress });
                }
                () = taken.more.notified() => {}
                () = tokio::time::sleep(patience) => return Err(Failure::Stalled(patience)),
            }
        }
    }
}

/// What a peer has taken of a body.
#[derive(Debug, Default)]
struct Taken {
    more: Notify,
    whole: AtomicBool,
}

/// A body that tells what is taken of it. It is dropped after its last piece.
struct Watched {
    pieces: Pieces,
    taken: Arc<Taken>,
}

impl Stream for Watched {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let piece = self.pieces.as_mut().poll_next(context);
        if piece.is_ready() {
            self.taken.more.notify_one();
        }
        piece
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.taken.whole.store(true, Ordering::Release);
        self.taken.more.notify_one();
    }
}

/// An answer, whose body is given up when it stalls.
#[derive(Debug)]
pub(crate) struct Response {
    inner: reqwest::Response,
    progress: Duration,
}

impl Deref for Response {
    type Target = reqwest::Response;

    fn deref(&self) -> &reqwest::Response {
        &self.inner
    }
}

impl Response {
    /// The next bytes of the body; `None` at its end.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Failure> {
        match tokio::time::timeout(self.progress, self.inner.chunk()).await {
            Ok(chunk) => chunk.map_err(Failure::of),
            Err(_) => Err(Failure::Stalled(self.progress)),
        }
    }

    /// Where we are sent instead, if we are.
    pub(crate) fn redirected(&self) -> Result<Option<Url>> {
        let location = self.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let Some(location) = location.filter(|_| self.status().is_redirection()) else { return Ok(None) };
        let bad = || Error::unknown(format!("{}: redirected to {:?}", shown(self.url().as_str()), shown(location)));
        let next = self.url().join(location).map_err(|error| bad().caused_by(error))?;
        if !matches!(next.scheme(), "http" | "https") {
            return Err(bad());
        }
        Ok(Some(next))
    }
}

/// Why there is no answer, or no more of it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Nothing moved for so long.
    Stalled(Duration),
    /// Whatever the transport says, but for the URL.
    Transport(reqwest::Error),
}

impl Failure {
    fn of(error: reqwest::Error) -> Self {
        Self::Transport(error.without_url())
    }

    /// Whether the other side answered our handshake with something that is no TLS.
    pub(crate) fn is_not_tls(&self) -> bool {
        use rustls::{Error::InvalidMessage, InvalidMessage::InvalidContentType};
        self.is_caused(|cause| matches!(cause.downcast_ref(), Some(InvalidMessage(InvalidContentType))))
    }

    /// Whether we do not believe the certificate of the other side.
    fn is_mistrust(&self) -> bool {
        self.is_caused(|cause| matches!(cause.downcast_ref(), Some(rustls::Error::InvalidCertificate(_))))
    }

    /// Whether nobody was there to connect to.
    pub(crate) fn is_unreachable(&self) -> bool {
        let Self::Transport(error) = self else { return false };
        let refused = |cause: &Cause| {
            cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused)
        };
        error.is_connect() && (error.is_timeout() || self.is_caused(refused))
    }

    fn is_caused(&self, is: impl Fn(&Cause) -> bool) -> bool {
        let Self::Transport(error) = self else { return false };
        let mut next: Option<&Cause> = Some(error);
        while let Some(cause) = next {
            if is(cause) {
                return true;
            }
            // An I/O error's source is that of the error within.
            let within = cause.downcast_ref().and_then(io::Error::get_ref).map(|within| within as &Cause);
            next = within.or_else(|| cause.source());
        }
        false
    }
}

type Cause = dyn StdError + 'static;

/// The whole body, if it has at most `max` bytes.
pub(crate) async fn read_bounded(mut response: Response, max: usize, what: &str) -> Result<Bytes> {
    let too_large = || Error::invalid_argument(format!("{what}: larger than {max} bytes"));
    if response.content_length().is_some_and(|length| length > max as u64) {
        return Err(too_large());
    }
    let mut body = BytesMut::new();
    while let Some(chunk) = response.chunk().await.map_err(|cause| error(what, &cause))? {
        if body.len() + chunk.len() > max {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.freeze())
}

/// A failure of the transport, with its causes: reqwest's own text stops at the first.
pub(crate) fn error(what: impl Into<String>, failure: &Failure) -> Error {
    let cause = match failure {
        Failure::Stalled(patience) => {
            return Error::new(Kind::DeadlineExceeded, what).caused_by(format!("no progress for {patience:?}"));
        }
        Failure::Transport(cause) => cause,
    };
    // A connection that is given up for want of its peer's signs of life is no reason not to try another.
    let kind = if cause.is_timeout() && cause.is_connect() {
        Kind::DeadlineExceeded
    } else if failure.is_mistrust() {
        // Sending again would not help.
        Kind::Unauthenticated
    } else {
        Kind::Unavailable
    };
    let mut text = cause.to_string();
    let mut source = cause.source();
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    Error::new(kind, what).caused_by(text)
}

/// An answer that we did not want, as the cause of an error.
#[derive(Debug)]
pub(crate) struct Refusal {
    text: String,
    wait: Option<Duration>,
}

impl Refusal {
    /// Of `status`, told by `text`; `headers` may ask for a wait.
    pub(crate) fn new(text: String, headers: &HeaderMap) -> Self {
        Self { text, wait: retry_after(headers) }
    }

    /// The wait that the host asked for whose refusal caused `error`.
    pub(crate) fn wait_of(error: &Error) -> Option<Duration> {
        let mut next: Option<&Cause> = Some(error);
        while let Some(cause) = next {
            if let Some(refusal) = cause.downcast_ref::<Self>() {
                return refusal.wait;
            }
            next = cause.source();
        }
        None
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.text)
    }
}

impl StdError for Refusal {}

/// What `Retry-After` asks for: seconds, or a date (RFC 9110, 10.2.3).
pub(crate) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let value = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?;
    Some(until.duration_since(SystemTime::now()).unwrap_or_default())
}

/// Whether what `home` may know may go to `url` as well: it is the same host and port, and what was encrypted stays so.
pub(crate) fn is_within(home: &Url, url: &Url) -> bool {
    home.host() == url.host() && home.port() == url.port() && (home.scheme() == url.scheme() || url.scheme() == "https")
}

/// A URL fit to be shown: a query may hold a signature that is as good as a password, and a host may follow one.
pub(crate) fn shown(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    match path.split_once("://") {
        Some((scheme, rest)) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            format!("{scheme}://{}{path}", authority.rsplit('@').next().unwrap_or_default())
        }
        None => path.to_owned(),
    }
}

/// What a status that we did not want says in our terms.
pub(crate) fn status_kind(status: StatusCode) -> Kind {
    match status {
        StatusCode::NOT_FOUND => Kind::NotFound,
        StatusCode::UNAUTHORIZED => Kind::Unauthenticated,
        StatusCode::FORBIDDEN => Kind::PermissionDenied,
        StatusCode::TOO_MANY_REQUESTS => Kind::Unavailable,
        StatusCode::RANGE_NOT_SATISFIABLE => Kind::OutOfRange,
        StatusCode::BAD_REQUEST => Kind::InvalidArgument,
        StatusCode::METHOD_NOT_ALLOWED | StatusCode::NOT_IMPLEMENTED => Kind::Unimplemented,
        status if status.is_server_error() => Kind::Unavailable,
        _ => Kind::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let asks =
            |value: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::try_from(value).unwrap())]));
        assert_eq!(asks("7"), Some(Duration::from_secs(7)));
        assert_eq!(asks("soon"), None);
        assert_eq!(asks("Fri, 31 Dec 1999 23:59:59 GMT"), Some(Duration::ZERO));
        let date = httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(10_000));
        let wait = asks(&date).unwrap();
        assert!((9_000..=10_000).contains(&wait.as_secs()), "{wait:?}");
    }

    #[test]
    fn what_is_shown_of_a_url_holds_no_secret() {
        for (url, expected) in [
            ("https://r.example:5000/v2/a/blobs/x?X-Amz-Signature=s#f", "https://r.example:5000/v2/a/blobs/x"),
            ("https://user:word@r.example/v2/", "https://r.example/v2/"),
            ("https://user:wo@rd@r.example?s", "https://r.example"),
            ("/v2/a/blobs/uploads/1?_state=s", "/v2/a/blobs/uploads/1"),
            ("no URL", "no URL"),
        ] {
            assert_eq!(shown(url), expected);
        }
    }

    #[test]
    fn home_is_one_host_and_port_and_never_less_safe() {
        for (home, url, within) in [
            ("https://r.example/v2/", "https://r.example:443/elsewhere?s", true),
            ("https://r.example/", "http://r.example/", false),
            ("https://r.example:5000/", "http://r.example:5000/", false),
            ("https://r.example:5000/", "https://r.example/", false),
            ("https://r.example/", "https://s.example/", false),
            ("https://r.example/", "https://r.example.evil/", false),
            ("http://r.example:5000/", "https://r.example:5000/", true),
            ("http://r.example/", "https://r.example/", true),
            ("http://r.example/", "http://r.example:8080/", false),
        ] {
            let parse = |text| Url::parse(text).unwrap();
            assert_eq!(is_within(&parse(home), &parse(url)), within, "{home} {url}");
        }
    }
}
