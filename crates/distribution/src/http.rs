//! One HTTP client a host, with bounds on everything a peer may draw out.

use crate::{
    hosts::Host,
    observer::{Names, Observed},
    proxy::Proxies,
};
use bytes::{Bytes, BytesMut};
use model::{Error, Kind, Result};
use reqwest::{Certificate, ClientBuilder, Identity, Proxy, Response, StatusCode, redirect::Policy};
use std::{fs, path::Path, time::Duration};

/// Bounds of a peer's patience and ours.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest that a connection may take, where the host sets none.
    pub connect: Duration,
    /// Longest without a byte of an answer: a dead or stalled peer is given up.
    pub progress: Duration,
    /// How often a request that failed in a passing way is sent again.
    pub retries: u32,
    /// Longest wait that a `Retry-After` may ask for.
    pub retry_after: Duration,
    /// Most bytes of a manifest or index.
    pub document: usize,
}

impl Default for Limits {
    /// containerd's bounds, and a minute without progress.
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            progress: Duration::from_secs(60),
            retries: 5,
            retry_after: Duration::from_secs(60),
            document: 8 << 20,
        }
    }
}

/// Makes aws-lc the process's cryptography; call once, early. A second call changes nothing.
pub fn install_crypto() {
    // An error means that somebody chose one already, which serves as well.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A client for `host`. Redirects are not followed by it: [`crate::registry`] does, and keeps credentials home.
pub(crate) fn client(host: &Host, limits: &Limits, observed: &Observed) -> Result<reqwest::Client> {
    install_crypto();
    let (mut authorities, mut identity) = (Vec::new(), None);
    for path in &host.tls.authorities {
        let bad = |error| Error::invalid_argument(format!("load CA certificate {}", path.display())).caused_by(error);
        authorities.extend(Certificate::from_pem_bundle(&read(path)?).map_err(bad)?);
    }
    if let [(certificate, key), rest @ ..] = host.tls.client.as_slice() {
        if !rest.is_empty() {
            tracing::warn!(host = %host, "only the first client certificate is used");
        }
        let mut pem = read(certificate)?;
        if let Some(key) = key {
            pem.extend_from_slice(b"\n");
            pem.extend(read(key)?);
        }
        identity = Some(Identity::from_pem(&pem).map_err(|error| {
            Error::invalid_argument(format!("load client certificate {}", certificate.display())).caused_by(error)
        })?);
    }
    let build = |exclusive: bool| {
        let mut builder = base(host, limits, observed);
        builder = match exclusive {
            true => builder.tls_certs_only(authorities.clone()),
            false => builder.tls_certs_merge(authorities.clone()),
        };
        if let Some(identity) = &identity {
            builder = builder.identity(identity.clone());
        }
        builder.build()
    };
    build(host.tls.exclusive)
        .or_else(|error| {
            // A system without authorities: plain HTTP needs none, and over TLS nobody is trusted.
            tracing::debug!(%host, ?error, "trying without the system's authorities");
            build(true)
        })
        .map_err(|error| Error::invalid_argument(format!("set up a client for {host}")).caused_by(error))
}

/// All but whom it trusts and who we are.
fn base(host: &Host, limits: &Limits, observed: &Observed) -> ClientBuilder {
    let proxies = Proxies::of_environment();
    reqwest::Client::builder()
        .user_agent(concat!("containerd/2.1.0+containerd-rs-", env!("CARGO_PKG_VERSION")))
        .redirect(Policy::none())
        .proxy(Proxy::custom(move |url| proxies.of(url)))
        .dns_resolver(Names(observed.clone()))
        .connect_timeout(host.dial_timeout.unwrap_or(limits.connect))
        .read_timeout(limits.progress)
        .pool_max_idle_per_host(8)
        .http2_adaptive_window(true)
        .tls_danger_accept_invalid_certs(host.tls.skip_verify)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).map_err(|error| Error::io(format!("read {}", path.display()), error))
}

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
pub(crate) fn error(what: impl Into<String>, cause: &reqwest::Error) -> Error {
    let kind = if cause.is_timeout() { Kind::DeadlineExceeded } else { Kind::Unavailable };
    let mut text = cause.to_string();
    let mut source = std::error::Error::source(cause);
    while let Some(inner) = source {
        text = format!("{text}: {inner}");
        source = inner.source();
    }
    Error::new(kind, what).caused_by(text)
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
