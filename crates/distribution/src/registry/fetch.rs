//! Blobs as streams that survive a broken connection.

use super::{
    Endpoint, Repository,
    request::{Request, refused},
    resolve::header,
    telling,
};
use crate::{
    hosts::Host,
    http::{self, Limits, REDIRECTS, Response, shown},
    observer::Observed,
};
use bytes::Bytes;
use model::{Digest, Error, Kind, Result};
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_LENGTH, CONTENT_RANGE, RANGE},
};

/// A blob to fetch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Blob {
    /// Its digest. It is not checked here: whoever writes the bytes hashes them.
    pub digest: Digest,
    /// Its size in bytes; an answer of another size is refused.
    pub size: u64,
    /// Where to begin, for one that was fetched in part.
    pub offset: u64,
    /// Where to end, for one that is fetched by several requests; the size for the whole.
    pub end: u64,
    /// Where else it is said to be (`urls` of its descriptor): asked first, without any credential.
    pub urls: Vec<String>,
    /// The media type that hosts are asked for (`Accept`), if one is preferred.
    pub media_type: Option<String>,
}

impl Blob {
    /// The whole blob.
    pub fn whole(digest: Digest, size: u64) -> Self {
        Self { digest, size, offset: 0, end: size, urls: Vec::new(), media_type: None }
    }
}

/// The bytes of a blob from its offset, in the order they are.
///
/// A body that breaks is asked for again from where it broke, as long as attempts bring something; after one that
/// brought nothing at the next source.
#[derive(Debug)]
pub struct Body<'a> {
    repository: &'a Repository,
    blob: Blob,
    response: Option<Response>,
    /// What came with the bytes skipped at a host that knows no ranges.
    pending: Option<Bytes>,
    /// Bytes brought by the attempt under way.
    brought: u64,
    failures: u32,
    /// Who is asked next: one of the blob's URLs, else one of the hosts.
    source: usize,
}

impl Repository {
    /// Opens `blob`. The first host that has it serves it.
    ///
    /// # Errors
    /// `NotFound` if no host has it; otherwise what the most telling host says.
    pub async fn blob(&self, blob: Blob) -> Result<Body<'_>> {
        if blob.offset > blob.end || blob.end > blob.size {
            return Err(Error::out_of_range(format!(
                "blob {}: {}..{} of {}",
                blob.digest, blob.offset, blob.end, blob.size
            )));
        }
        let mut body =
            Body { repository: self, blob, response: None, pending: None, brought: 0, failures: 0, source: 0 };
        if body.blob.offset < body.blob.end {
            body.open().await?;
        }
        Ok(body)
    }

    /// The size in bytes of blob `digest`, as the first host that has it says. `media_type` is what hosts are asked for
    /// (`Accept`), if one is preferred.
    ///
    /// # Errors
    /// `NotFound` if no host has it; otherwise what the most telling host says.
    pub async fn blob_size(&self, digest: &Digest, media_type: Option<&str>) -> Result<u64> {
        let hosts = self.able("pull", |can| can.pull)?;
        self.first(hosts, |endpoint| self.blob_size_at(endpoint, digest, media_type)).await
    }

    async fn blob_size_at(&self, endpoint: &Endpoint, digest: &Digest, media_type: Option<&str>) -> Result<u64> {
        let what = format!("blob {digest} of {}/{}", self.registry, self.name);
        let url = self.url(endpoint, &format!("blobs/{digest}"));
        let request = Request::new(Method::HEAD, url, self.scope("pull")).prefer(media_type)?;
        let response = self.send(endpoint, &request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&what, response).await);
        }
        let length = header(response.headers(), CONTENT_LENGTH.as_str()).and_then(|text| text.parse().ok());
        length.ok_or_else(|| Error::unknown(format!("{what}: the registry does not say its size")))
    }
}

impl Body<'_> {
    /// The next bytes; `None` at the end.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>> {
        while self.blob.offset < self.blob.end {
            let Some(response) = self.response.as_mut() else {
                self.open().await?;
                continue;
            };
            let received = match self.pending.take() {
                Some(chunk) => Ok(Some(chunk)),
                None => response.chunk().await,
            };
            match received {
                Ok(Some(mut chunk)) => {
                    let left = self.blob.end - self.blob.offset;
                    if chunk.len() as u64 > left {
                        // A host that ignores the end of a range; what is beyond is not ours.
                        chunk.truncate(usize::try_from(left).unwrap_or(usize::MAX));
                    }
                    self.blob.offset += chunk.len() as u64;
                    self.brought += chunk.len() as u64;
                    return Ok(Some(chunk));
                }
                Ok(None) => self.broke(Error::unavailable("the body ended early")).await?,
                Err(error) => self.broke(http::error("the body broke", &error)).await?,
            }
        }
        self.response = None;
        Ok(None)
    }

    /// Whether the host has answered with the range that it was asked for: then others may be asked for as well.
    pub fn is_ranged(&self) -> bool {
        self.response.as_ref().is_some_and(|response| response.status() == StatusCode::PARTIAL_CONTENT)
    }

    /// Goes on to `end`, which lies beyond the present one. A host that knows no ranges sends the whole anyway.
    pub fn extend(&mut self, end: u64) {
        self.blob.end = end.clamp(self.blob.end, self.blob.size);
    }

    /// Counts a failure; after one that brought nothing the next source is asked, a little later. Gives up when too many
    /// bring nothing.
    async fn broke(&mut self, error: Error) -> Result<()> {
        self.response = None;
        tracing::debug!(digest = %self.blob.digest, offset = self.blob.offset, %error, "asking for the rest");
        if std::mem::take(&mut self.brought) > 0 {
            self.failures = 0;
            return Ok(());
        }
        if self.failures >= self.repository.limits.retries {
            return Err(error.context(format!("blob {} at byte {}", self.blob.digest, self.blob.offset)));
        }
        self.repository.limits.wait(self.failures, None).await;
        self.failures += 1;
        self.source += 1;
        Ok(())
    }

    /// Opens at the source that is next, or at the first after it that can.
    async fn open(&mut self) -> Result<()> {
        let hosts = self.repository.able("pull", |can| can.pull)?;
        let (urls, count) = (self.blob.urls.len(), self.blob.urls.len() + hosts.len());
        let (mut of_urls, mut of_hosts) = (None, None);
        for turn in 0..count {
            let at = (self.source + turn) % count;
            let opened = match self.blob.urls.get(at) {
                Some(url) => self.open_elsewhere(url).await,
                None => self.open_at(hosts[at - urls]).await,
            };
            match opened {
                Ok((response, pending)) => {
                    (self.response, self.pending, self.source, self.brought) = (Some(response), pending, at, 0);
                    return Ok(());
                }
                Err(error) => {
                    tracing::debug!(%error, "cannot fetch");
                    if at < urls {
                        of_urls = Some(error);
                    } else {
                        of_hosts = Some(telling(of_hosts, error));
                    }
                }
            }
        }
        // A registry need not have what is said to be elsewhere.
        let of_hosts = of_hosts.unwrap_or_else(|| Error::not_found(self.blob.digest.as_str()));
        Err(of_urls.filter(|_| of_hosts.is_not_found()).unwrap_or(of_hosts))
    }

    async fn open_at(&self, endpoint: &Endpoint) -> Result<(Response, Option<Bytes>)> {
        let (repository, blob) = (self.repository, &self.blob);
        let what = format!("blob {} of {}/{}", blob.digest, repository.registry, repository.name);
        let url = repository.url(endpoint, &format!("blobs/{}", blob.digest));
        let request = Request::new(Method::GET, url, repository.scope("pull"));
        let mut request = request.prefer(blob.media_type.as_deref())?;
        let partial = blob.offset > 0 || blob.end < blob.size;
        if partial {
            request = request.range(blob.offset, (blob.end < blob.size).then(|| blob.end - 1));
        }
        let response = repository.send(endpoint, &request).await?;
        self.accept(response, &what).await
    }

    async fn open_elsewhere(&self, url: &str) -> Result<(Response, Option<Bytes>)> {
        let blob = &self.blob;
        let at = Url::parse(url).map_err(|error| {
            Error::invalid_argument(format!("blob {}: one of its URLs", blob.digest)).caused_by(error)
        })?;
        let what = format!("blob {} at {}", blob.digest, shown(url));
        let range =
            (blob.offset > 0 || blob.end < blob.size).then(|| format!("bytes={}-{}", blob.offset, blob.end - 1));
        let response = elsewhere(at, range, &self.repository.limits).await.map_err(|error| error.context(&*what))?;
        self.accept(response, &what).await
    }

    /// Takes an answer that has what was asked for.
    async fn accept(&self, mut response: Response, what: &str) -> Result<(Response, Option<Bytes>)> {
        let blob = &self.blob;
        let partial = blob.offset > 0 || blob.end < blob.size;
        match response.status() {
            StatusCode::PARTIAL_CONTENT if partial => {
                check_range(&response, blob, what)?;
                Ok((response, None))
            }
            StatusCode::OK => {
                if response.content_length().is_some_and(|length| length != blob.size) {
                    let length = response.content_length().unwrap_or_default();
                    return Err(Error::data_loss(format!("{what}: has {length} bytes, expected {}", blob.size)));
                }
                let pending = skip(&mut response, blob.offset, what).await?;
                Ok((response, pending))
            }
            _ => Err(refused(what, response).await),
        }
    }
}

/// Asks a server that is no registry of ours, and gets to know nothing about us.
async fn elsewhere(mut at: Url, range: Option<String>, limits: &Limits) -> Result<Response> {
    for _ in 0..=REDIRECTS {
        if !matches!(at.scheme(), "http" | "https") {
            return Err(Error::invalid_argument(format!("scheme {} is not fetched", at.scheme())));
        }
        let client = http::client(&Host::new(at.scheme(), at.authority()), limits, &Observed::default())?;
        let what = format!("get {}", shown(at.as_str()));
        let mut request = client.request(Method::GET, at);
        if let Some(range) = &range {
            request = request.header(RANGE, range);
        }
        let response = client.send(request, None).await.map_err(|error| http::error(what, &error))?;
        match response.redirected()? {
            Some(next) => at = next,
            None => return Ok(response),
        }
    }
    Err(Error::unknown(format!("more than {REDIRECTS} redirects")))
}

/// `bytes 100-199/1000` must begin where we asked.
fn check_range(response: &Response, blob: &Blob, what: &str) -> Result<()> {
    let Some(value) = response.headers().get(CONTENT_RANGE).and_then(|value| value.to_str().ok()) else {
        return Ok(());
    };
    let begins = value.strip_prefix("bytes ").and_then(|range| range.split('-').next()?.parse::<u64>().ok());
    if begins == Some(blob.offset) {
        return Ok(());
    }
    Err(Error::new(Kind::DataLoss, format!("{what}: asked for byte {}, the answer is {value:?}", blob.offset)))
}

/// Reads past what we have, at a host that knows no ranges; what is left of the last chunk.
async fn skip(response: &mut Response, bytes: u64, what: &str) -> Result<Option<Bytes>> {
    let mut left = bytes;
    while left > 0 {
        let chunk = response.chunk().await.map_err(|error| http::error(what, &error))?;
        let mut chunk =
            chunk.ok_or_else(|| Error::unavailable(format!("{what}: the body ended at byte {}", bytes - left)))?;
        if chunk.len() as u64 > left {
            return Ok(Some(chunk.split_off(usize::try_from(left).unwrap_or(usize::MAX))));
        }
        left -= chunk.len() as u64;
    }
    Ok(None)
}
