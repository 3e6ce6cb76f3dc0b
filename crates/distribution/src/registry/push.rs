//! Uploads: blobs in one request or in chunks, mounts across repositories, manifests.

use super::{
    Endpoint, Repository, check_name, check_object,
    request::{Request, passing, refused},
    resolve::{MANIFESTS, digest_of, header},
};
use crate::http::Response;
use bytes::Bytes;
use model::{Digest, Error, Kind, Result};
use reqwest::{
    Method, StatusCode, Url,
    header::{CONTENT_RANGE, HeaderValue, LOCATION, RANGE},
};
use tokio_stream::Stream;

/// An upload begun at a registry.
#[derive(Debug)]
pub struct Upload<'a> {
    repository: &'a Repository,
    endpoint: &'a Endpoint,
    digest: Digest,
    location: Url,
    /// Bytes that the registry has.
    offset: u64,
    /// Fewest bytes of a chunk that is not the last.
    least: usize,
}

/// What became of a wish to upload a blob.
#[derive(Debug)]
pub enum Mounted<'a> {
    /// The registry has it already, here or mounted from the other repository.
    Present,
    /// It has to be uploaded.
    Upload(Upload<'a>),
}

impl Repository {
    /// Whether the registry has blob `digest` in this repository.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        let endpoint = self.push_endpoint()?;
        self.exists(endpoint, &format!("blobs/{digest}")).await
    }

    /// Whether the registry has manifest `object`, and that under `digest`.
    pub async fn has_manifest(&self, object: &str, digest: &Digest) -> Result<bool> {
        check_object(object)?;
        let endpoint = self.push_endpoint()?;
        let url = self.url(endpoint, &format!("manifests/{object}"));
        let request = Request::new(Method::HEAD, url, self.scope("pull,push")).accept(MANIFESTS);
        let response = self.send(endpoint, &request).await?;
        let found = header(response.headers(), "docker-content-digest") == Some(digest.as_str());
        Ok(response.status() == StatusCode::OK && found)
    }

    /// Begins the upload of blob `digest`, mounting it from `source`, another repository of the registry, if it can.
    pub async fn upload(&self, digest: &Digest, source: Option<&str>) -> Result<Mounted<'_>> {
        let endpoint = self.push_endpoint()?;
        if self.exists(endpoint, &format!("blobs/{digest}")).await? {
            return Ok(Mounted::Present);
        }
        let what = format!("upload {digest} to {}/{}", self.registry, self.name);
        let mut path = "blobs/uploads/".to_owned();
        let mut request = Request::new(Method::POST, String::new(), self.scope("pull,push"));
        if let Some(source) = source.filter(|source| *source != self.name) {
            check_name(source)?;
            path = format!("{path}?mount={digest}&from={source}");
            request.scopes.insert(format!("repository:{source}:pull"));
        }
        request.url = self.url(endpoint, &path);
        let mut response = self.send(endpoint, &request).await;
        if source.is_some() && is_denied(&response) {
            // Not ours to mount from: then it is uploaded.
            let request = Request::new(Method::POST, self.url(endpoint, "blobs/uploads/"), self.scope("pull,push"));
            response = self.send(endpoint, &request).await;
        }
        let response = response?;
        match response.status() {
            StatusCode::CREATED => Ok(Mounted::Present),
            // The specification has the second; others are seen, too.
            StatusCode::OK | StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                let location = self.location(endpoint, &response, &what)?;
                let least = header(response.headers(), "oci-chunk-min-length").and_then(|text| text.parse().ok());
                Ok(Mounted::Upload(Upload {
                    repository: self,
                    endpoint,
                    digest: digest.clone(),
                    location,
                    offset: 0,
                    least: least.unwrap_or(0),
                }))
            }
            _ => Err(refused(&what, response).await),
        }
    }

    /// Uploads a manifest or index under `object`, a tag or its digest.
    pub async fn put_manifest(&self, object: &str, media_type: &str, bytes: Bytes) -> Result<Digest> {
        check_object(object)?;
        let digest = digest_of(model::Algorithm::Sha256, &bytes)?;
        let endpoint = self.push_endpoint()?;
        let url = self.url(endpoint, &format!("manifests/{object}"));
        let request = Request::new(Method::PUT, url, self.scope("pull,push")).body(media_type, bytes)?;
        let response = self.send(endpoint, &request).await?;
        let what = format!("push manifest {object} to {}/{}", self.registry, self.name);
        if !response.status().is_success() {
            return Err(refused(&what, response).await);
        }
        match header(response.headers(), "docker-content-digest") {
            Some(theirs) if theirs != digest.as_str() && theirs.starts_with("sha256:") => {
                Err(Error::data_loss(format!("{what}: the registry has {theirs}, expected {digest}")))
            }
            _ => Ok(digest),
        }
    }

    fn push_endpoint(&self) -> Result<&Endpoint> {
        // The registry's own host comes last; a mirror that may be pushed to comes before it.
        self.able("push", |can| can.push)?.first().copied().ok_or_else(|| Error::not_found("no push host"))
    }

    async fn exists(&self, endpoint: &Endpoint, path: &str) -> Result<bool> {
        let request = Request::new(Method::HEAD, self.url(endpoint, path), self.scope("pull,push"));
        let response = self.send(endpoint, &request).await?;
        match response.status() {
            StatusCode::OK => Ok(true),
            // Who may not look may still be allowed to push; if not, we are told by a registry that has more to say.
            StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Ok(false),
            _ => Err(refused(&format!("look for {path} in {}/{}", self.registry, self.name), response).await),
        }
    }

    /// Where `response` says that an upload goes on.
    fn location(&self, endpoint: &Endpoint, response: &Response, what: &str) -> Result<Url> {
        let text = header(response.headers(), LOCATION.as_str());
        let text = text.ok_or_else(|| Error::unknown(format!("{what}: the registry names no location for it")))?;
        let url = endpoint.join(response.url(), text).map_err(|error| error.context(what))?;
        Ok(self.told(endpoint, url))
    }
}

impl Upload<'_> {
    /// The blob.
    pub fn digest(&self) -> &Digest {
        &self.digest
    }

    /// Bytes that the registry has so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Fewest bytes that the registry takes with [`Self::chunk`], but for the last (`OCI-Chunk-Min-Length`).
    pub fn least(&self) -> usize {
        self.least
    }

    /// Sends all of the blob, `size` bytes, in one request.
    ///
    /// # Errors
    /// As the registry says; what it has then can be asked with [`Upload::status`], and the rest sent with
    /// [`Upload::chunk`].
    pub async fn whole(
        &mut self,
        size: u64,
        bytes: impl Stream<Item = std::io::Result<Bytes>> + Send + 'static,
    ) -> Result<()> {
        let request = self.last().media_type("application/octet-stream")?;
        let response = self.repository.send_once(self.endpoint, &request, size, Box::pin(bytes)).await;
        self.accepted(response).await?;
        self.offset = size;
        Ok(())
    }

    /// Sends the next bytes.
    pub async fn chunk(&mut self, bytes: Bytes) -> Result<()> {
        let end = self.offset + bytes.len() as u64;
        let mut request = self.request(Method::PATCH).body("application/octet-stream", bytes)?;
        let range = format!("{}-{}", self.offset, end.saturating_sub(1));
        if let Ok(range) = HeaderValue::try_from(range) {
            request.headers.insert(CONTENT_RANGE, range);
        }
        let response = self.repository.send_authorized(self.endpoint, &request).await;
        let response = self.accepted(response).await?;
        self.location = self.repository.location(self.endpoint, &response, &self.what())?;
        self.offset = end;
        Ok(())
    }

    /// Asks the registry how much it has, after a request that broke.
    pub async fn status(&mut self) -> Result<u64> {
        let response = self.repository.send(self.endpoint, &self.request(Method::GET)).await;
        let response = self.accepted(response).await?;
        if let Ok(location) = self.repository.location(self.endpoint, &response, &self.what()) {
            self.location = location;
        }
        let last =
            header(response.headers(), RANGE.as_str()).and_then(|range| range.rsplit('-').next()?.parse::<u64>().ok());
        self.offset = last.map_or(0, |last| if last == 0 { 0 } else { last.saturating_add(1) });
        Ok(self.offset)
    }

    /// Closes an upload whose bytes were all sent as chunks.
    pub async fn commit(&mut self) -> Result<()> {
        let response = self.repository.send_authorized(self.endpoint, &self.last()).await;
        self.accepted(response).await.map(drop)
    }

    /// Waits before it goes on after `error`, its failure after `before` others, if that may pass on its own.
    pub(super) async fn let_pass(&self, error: &Error, before: u32) {
        if let Some(asked) = passing(error) {
            self.repository.limits.wait(before, asked).await;
        }
    }

    /// The request that ends the upload.
    fn last(&self) -> Request {
        let mut request = self.request(Method::PUT);
        // That there is one, if an empty one, gives the answer the time that one to a body has.
        request.body = Some(Bytes::new());
        let mut url = self.location.clone();
        url.query_pairs_mut().append_pair("digest", self.digest.as_str());
        request.url = url.into();
        request
    }

    /// Which success it is differs between registries, and says nothing more.
    async fn accepted(&self, response: Result<Response>) -> Result<Response> {
        match response {
            Ok(response) if response.status().is_success() => Ok(response),
            Ok(response) => Err(refused(&self.what(), response).await),
            Err(error) => Err(error.context(self.what())),
        }
    }

    fn request(&self, method: Method) -> Request {
        Request::new(method, self.location.to_string(), self.repository.scope("pull,push"))
    }

    fn what(&self) -> String {
        format!("upload {} to {}/{}", self.digest, self.repository.registry, self.repository.name)
    }
}

/// Whether the registry, or who gives its tokens, does not let us.
fn is_denied(outcome: &Result<Response>) -> bool {
    match outcome {
        Ok(response) => matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN),
        Err(error) => matches!(error.kind(), Kind::Unauthenticated | Kind::PermissionDenied),
    }
}
