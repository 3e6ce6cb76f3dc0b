//! From a tag or digest to a manifest.

use super::{
    Endpoint, Repository, check_object,
    request::{Request, refused},
};
use crate::http::{Response, read_bounded};
use bytes::Bytes;
use model::{Algorithm, Digest, Error, Result};
use reqwest::{
    Method, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderMap},
};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// Every type of manifest we know, then anything: an unknown one is kept as it is.
pub(super) const MANIFESTS: &str = "application/vnd.docker.distribution.manifest.v2+json, \
    application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.oci.image.manifest.v1+json, \
    application/vnd.oci.image.index.v1+json, application/vnd.oci.artifact.manifest.v1+json, */*";
/// Docker's first schema cannot be verified and is refused.
const SCHEMA_1: &str = "application/vnd.docker.distribution.manifest.v1+prettyjws";

/// What a tag points to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Media type, as the registry says.
    pub media_type: String,
    /// Digest of the bytes.
    pub digest: Digest,
    /// Size in bytes.
    pub size: u64,
}

/// A manifest or index, verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Document {
    /// What it is.
    pub resolved: Resolved,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Repository {
    /// What `object`, a tag or a digest, points to.
    ///
    /// # Errors
    /// `NotFound` if no host has it; otherwise what the most telling host says.
    pub async fn resolve(&self, object: &str) -> Result<Resolved> {
        check_object(object)?;
        let hosts = self.able("resolve", |can| if object.contains(':') { can.pull } else { can.resolve })?;
        self.first(hosts, |endpoint| self.resolve_at(endpoint, object)).await
    }

    async fn resolve_at(&self, endpoint: &Endpoint, object: &str) -> Result<Resolved> {
        let what = format!("resolve {}/{}:{object}", self.registry, self.name);
        let url = self.url(endpoint, &format!("manifests/{object}"));
        let request = Request::new(Method::HEAD, url, self.scope("pull")).accept(MANIFESTS);
        let response = self.send(endpoint, &request).await?;
        match response.status() {
            StatusCode::OK => {}
            // Some registries know no HEAD.
            StatusCode::METHOD_NOT_ALLOWED => return Ok(self.document_at(endpoint, object, None).await?.resolved),
            StatusCode::NOT_FOUND => return Err(Error::not_found(what)),
            _ => return Err(refused(&what, response).await),
        }
        let headers = response.headers();
        let digest = header(headers, "docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let size = header(headers, CONTENT_LENGTH.as_str()).and_then(|text| text.parse::<u64>().ok());
        match (digest, size) {
            (Some(digest), Some(size)) if size > 0 => {
                if object.contains(':') && digest.as_str() != object {
                    return Err(Error::data_loss(format!("{what}: the registry answered with {digest}")));
                }
                Ok(Resolved { media_type: media_type(&response, &what)?, digest, size })
            }
            _ => Ok(self.document_at(endpoint, object, None).await?.resolved),
        }
    }

    /// The manifest or index `object`, with its bytes verified.
    ///
    /// # Errors
    /// `DataLoss` if the bytes have another digest; `InvalidArgument` if they are more than the bound.
    pub async fn manifest(&self, object: &str) -> Result<Document> {
        self.manifest_as(object, None).await
    }

    /// The same, asked for as `media_type` (`Accept`), if one is preferred.
    ///
    /// # Errors
    /// As of [`Self::manifest`].
    pub async fn manifest_as(&self, object: &str, media_type: Option<&str>) -> Result<Document> {
        check_object(object)?;
        let hosts = self.able("pull", |can| can.pull)?;
        self.first(hosts, |endpoint| self.document_at(endpoint, object, media_type)).await
    }

    pub(super) async fn document_at(
        &self,
        endpoint: &Endpoint,
        object: &str,
        preferred: Option<&str>,
    ) -> Result<Document> {
        let what = format!("manifest {object} of {}/{}", self.registry, self.name);
        let url = self.url(endpoint, &format!("manifests/{object}"));
        let request = Request::new(Method::GET, url, self.scope("pull")).accept(MANIFESTS).prefer(preferred)?;
        let response = self.send(endpoint, &request).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&what, response).await);
        }
        let media_type = media_type(&response, &what)?;
        let claimed = header(response.headers(), "docker-content-digest").and_then(|text| text.parse::<Digest>().ok());
        let bytes = read_bounded(response, self.limits.document, &what).await?;
        let wanted = object.parse::<Digest>().ok().or(claimed);
        let algorithm = wanted.as_ref().map_or(Algorithm::Sha256, Digest::algorithm);
        let digest = digest_of(algorithm, &bytes)?;
        if let Some(wanted) = wanted.filter(|wanted| *wanted != digest) {
            return Err(Error::data_loss(format!("{what}: expected {wanted}, its bytes have {digest}")));
        }
        let size = bytes.len() as u64;
        Ok(Document { resolved: Resolved { media_type, digest, size }, bytes })
    }
}

pub(super) fn digest_of(algorithm: Algorithm, bytes: &[u8]) -> Result<Digest> {
    match algorithm {
        Algorithm::Sha256 => Digest::from_hash(algorithm, &Sha256::digest(bytes)),
        Algorithm::Sha384 => Digest::from_hash(algorithm, &Sha384::digest(bytes)),
        Algorithm::Sha512 => Digest::from_hash(algorithm, &Sha512::digest(bytes)),
    }
}

pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

fn media_type(response: &Response, what: &str) -> Result<String> {
    let text = header(response.headers(), CONTENT_TYPE.as_str()).unwrap_or_default();
    // Parameters such as a charset are no part of it.
    let text = text.split(';').next().unwrap_or_default().trim();
    if text == SCHEMA_1 {
        return Err(Error::unimplemented(format!("{what}: docker's schema 1 manifests are not supported")));
    }
    Ok(text.to_owned())
}
