//! What a repository holds: tags, the referrers of a manifest; and how to take something away.

use super::{
    Endpoint, Repository, check_object,
    request::{Request, refused},
    resolve::header,
};
use crate::http::read_bounded;
use bytes::Bytes;
use model::{Digest, Error, Kind, Result};
use reqwest::{Method, StatusCode, header::LINK};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};

/// Most pages of a list: a registry that never ends one is not waited for.
const PAGES: usize = 1_000;

#[derive(Deserialize)]
struct Tags {
    #[serde(default)]
    tags: Option<Vec<String>>,
}

/// An index of manifests, of which only the list is looked at.
#[derive(Deserialize, Serialize)]
struct Index {
    #[serde(default)]
    manifests: Option<Vec<Value>>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

impl Repository {
    /// Every tag, in the registry's order.
    pub async fn tags(&self) -> Result<Vec<String>> {
        let what = format!("tags of {}/{}", self.registry, self.name);
        let endpoint = *self.able("list tags", |can| can.resolve)?.last().ok_or_else(|| Error::not_found(&*what))?;
        let mut found = Vec::new();
        for page in self.pages(endpoint, "tags/list?n=1000", &what).await? {
            found.extend(parse::<Tags>(&page, &what)?.tags.unwrap_or_default());
        }
        Ok(found)
    }

    /// The index of manifests that refer to `digest`, as the registry gives it; where it knows no referrers, the tag
    /// that stands in for them (distribution spec, referrers tag schema). `None` if there is none.
    ///
    /// # Errors
    /// As of [`Self::manifest`]; also when a host that knows referrers did not tell them and no tag stands in.
    pub async fn referrers(&self, digest: &Digest) -> Result<Option<Bytes>> {
        let knowing = self.able("list referrers", |can| can.referrers).unwrap_or_default();
        let hosts = if knowing.is_empty() { self.able("resolve", |can| can.resolve)? } else { knowing.clone() };
        let error = match self.first(knowing, |endpoint| self.referrers_at(endpoint, digest)).await {
            Ok(index) => return Ok(Some(index)),
            Err(error) => error,
        };
        // The schema cuts the parts of long digests.
        let tag = format!("{:.32}-{:.64}", digest.algorithm().as_str(), digest.hex());
        match self.first(hosts, |endpoint| self.document_at(endpoint, &tag, None)).await {
            Ok(document) => Ok(Some(document.bytes)),
            Err(failed) if !failed.is_not_found() => Err(failed),
            Err(_) if matches!(error.kind(), Kind::NotFound | Kind::Unimplemented) => Ok(None),
            Err(_) => Err(error),
        }
    }

    async fn referrers_at(&self, endpoint: &Endpoint, digest: &Digest) -> Result<Bytes> {
        let what = format!("referrers of {digest} in {}/{}", self.registry, self.name);
        let mut pages = self.pages(endpoint, &format!("referrers/{digest}"), &what).await?;
        if pages.len() == 1 {
            return Ok(pages.remove(0));
        }
        let mut whole = Index { manifests: Some(Vec::new()), rest: Map::new() };
        for page in pages {
            let Index { manifests, rest } = parse(&page, &what)?;
            whole.manifests.get_or_insert_default().extend(manifests.unwrap_or_default());
            whole.rest = rest;
        }
        serde_json::to_vec(&whole).map(Bytes::from).map_err(|error| Error::internal(what).caused_by(error))
    }

    /// The pages of a list from `path` on, together no larger than a document.
    async fn pages(&self, endpoint: &Endpoint, path: &str, what: &str) -> Result<Vec<Bytes>> {
        let mut request = Request::new(Method::GET, self.url(endpoint, path), self.scope("pull"));
        let (mut pages, mut bytes) = (Vec::new(), 0);
        while pages.len() < PAGES {
            let response = self.send(endpoint, &request).await?;
            if response.status() != StatusCode::OK {
                return Err(refused(what, response).await);
            }
            let next = header(response.headers(), LINK.as_str()).and_then(next_of);
            let next = next.and_then(|next| endpoint.join(response.url(), next).ok());
            let next = next.map(|next| self.told(endpoint, next));
            let page = read_bounded(response, self.limits.document, what).await?;
            bytes += page.len();
            if bytes > self.limits.document {
                return Err(Error::invalid_argument(format!("{what}: larger than {} bytes", self.limits.document)));
            }
            pages.push(page);
            match next {
                Some(next) => request.url = next.into(),
                None => return Ok(pages),
            }
        }
        Err(Error::unknown(format!("{what}: more than {PAGES} pages")))
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

fn parse<T: DeserializeOwned>(page: &[u8], what: &str) -> Result<T> {
    serde_json::from_slice(page).map_err(|error| Error::unknown(what).caused_by(error))
}
