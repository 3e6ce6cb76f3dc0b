//! What a repository holds: tags, the referrers of a manifest; and how to take something away.

use super::{
    Repository, check_object,
    request::{Request, refused},
    resolve::header,
};
use crate::http::read_bounded;
use bytes::Bytes;
use model::{Digest, Error, Result};
use reqwest::{Method, StatusCode, header::LINK};
use serde::Deserialize;

/// Most pages of a list: a registry that never ends one is not waited for.
const PAGES: usize = 1_000;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

impl Repository {
    /// Every tag, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let what = format!("tags of {}/{}", self.registry, self.name);
        let endpoint = *self.able("list tags", |can| can.resolve)?.last().ok_or_else(|| Error::not_found(&*what))?;
        let mut url = self.url(endpoint, "tags/list?n=1000");
        let mut found = Vec::new();
        for _ in 0..PAGES {
            let request = Request::new(Method::GET, url.clone(), self.scope("pull"));
            let response = self.send(endpoint, &request).await?;
            if response.status() != StatusCode::OK {
                return Err(refused(&what, response).await);
            }
            let next = header(response.headers(), LINK.as_str()).and_then(next_of).map(str::to_owned);
            let next = next.and_then(|next| response.url().join(&next).ok());
            let page = read_bounded(response, self.limits.document, &what).await?;
            let page: Tags = serde_json::from_slice(&page).map_err(|error| Error::unknown(&*what).caused_by(error))?;
            found.extend(page.tags.unwrap_or_default());
            match next {
                Some(next) => url = next.into(),
                None => return Ok(found),
            }
        }
        Err(Error::unknown(format!("{what}: more than {PAGES} pages")))
    }

    /// The index of manifests that refer to `digest`, as the registry gives it; where it knows no referrers, the tag
    /// that stands in for them (distribution spec, referrers tag schema). `None` if there is none.
    pub async fn referrers(&self, digest: &Digest) -> Result<Option<Bytes>> {
        let what = format!("referrers of {digest} in {}/{}", self.registry, self.name);
        for endpoint in self.able("list referrers", |can| can.referrers)? {
            let url = self.url(endpoint, &format!("referrers/{digest}"));
            let request = Request::new(Method::GET, url, self.scope("pull"));
            let response = self.send(endpoint, &request).await?;
            if response.status() == StatusCode::OK {
                return read_bounded(response, self.limits.document, &what).await.map(Some);
            }
        }
        match self.manifest(&digest.as_str().replace(':', "-")).await {
            Ok(document) => Ok(Some(document.bytes)),
            Err(error) if error.is_not_found() => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes manifest `object`, a digest, or a tag where the registry allows it.
    pub async fn delete(&self, object: &str) -> Result<()> {
        check_object(object)?;
        let hosts = self.able("delete", |can| can.push)?;
        let endpoint = hosts.first().copied().ok_or_else(|| Error::not_found(object))?;
        let url = self.url(endpoint, &format!("manifests/{object}"));
        let request = Request::new(Method::DELETE, url, self.scope("delete,pull,push"));
        let response = self.send(endpoint, &request).await?;
        if response.status().is_success() {
            return Ok(());
        }
        Err(refused(&format!("delete {object} of {}/{}", self.registry, self.name), response).await)
    }
}

/// The target of `<url>; rel="next"` (RFC 8288).
fn next_of(link: &str) -> Option<&str> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    (parameters.contains("rel=\"next\"") || parameters.contains("rel=next")).then_some(target)
}
