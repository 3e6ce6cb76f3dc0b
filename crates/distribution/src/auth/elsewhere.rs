//! Who we are at hosts that a registry sends us to: nobody.
//!
//! Some registries keep their blobs at another (registry.k8s.io does), which gives tokens to everybody, but wants one.
//! Our credentials are for the host that was asked for, and go nowhere else.

use super::{Anonymous, Authorizer};
use crate::http::{Client, Response};
use model::Result;
use reqwest::{Url, header::HeaderMap};
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, PoisonError},
};

/// Most hosts that are remembered.
const MOST: usize = 16;

/// Answers the challenges of hosts that are not the registry's own.
#[derive(Debug, Default)]
pub(crate) struct Elsewhere(Mutex<HashMap<String, Arc<Authorizer>>>);

impl Elsewhere {
    /// The `Authorization` header for a request to `url`; `None` until its host has challenged us.
    pub(crate) async fn header(&self, url: &Url) -> Result<Option<String>> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&origin(url)).cloned();
        match known {
            // What is called `name` here has another name there, which its challenge tells.
            Some(known) => known.header(&BTreeSet::new()).await,
            None => Ok(None),
        }
    }

    /// Learns from `response`, a 401, as [`Authorizer::challenged`] does.
    ///
    /// # Errors
    /// `Unauthenticated` when nobody would be let in.
    pub(crate) async fn challenged(&self, client: &Client, response: &Response, refused: Option<&str>) -> Result<()> {
        let at = origin(response.url());
        let known = {
            let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if all.len() >= MOST && !all.contains_key(&at) {
                all.clear(); // they will challenge us again
            }
            let authority = response.url().authority().to_owned();
            let new = || Authorizer::new(client.clone(), authority, HeaderMap::new(), Arc::new(Anonymous));
            Arc::clone(all.entry(at).or_insert_with(|| Arc::new(new())))
        };
        known.challenged(response, refused, "").await
    }
}

fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}
