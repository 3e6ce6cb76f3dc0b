//! One host asked for one image.

use crate::registry::Known;
use distribution::{Credentials, Host, Limits, Reference, Repository};
use model::Result;
use serde_json::{Value, json};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Patience with a host that is asked only to find out.
const LIMITS: Limits = Limits {
    connect: Duration::from_secs(10),
    progress: Duration::from_secs(15),
    settle: Duration::from_secs(15),
    retries: 0,
    retry_after: Duration::from_secs(1),
    document: 8 << 20,
};

/// What became of it.
#[derive(Debug)]
pub(super) enum Attempt {
    /// It has the image.
    Found {
        /// The digest of the manifest or index.
        digest: String,
        /// How long that took.
        took: Duration,
    },
    /// It is not asked, for this reason.
    NotAsked(&'static str),
    /// It failed.
    Failed(String),
}

/// Asks `host` for what `remote` names: for `digest`, if an earlier host has told that, where it knows no tags.
pub(super) async fn attempt(remote: &Reference, host: &Host, known: &Known, digest: Option<&str>) -> Attempt {
    let can = host.capabilities;
    let object = match remote.object().ok() {
        Some(object) if can.resolve || (can.pull && object.contains(':')) => object,
        _ if !can.pull && !can.resolve => return Attempt::NotAsked("it may only be pushed to"),
        Some(_) => match digest {
            Some(digest) => digest,
            None => return Attempt::NotAsked("it may not resolve tags"),
        },
        None => return Attempt::NotAsked("the name has neither tag nor digest"),
    };
    let start = Instant::now();
    match resolve(remote, host, known, object).await {
        Ok(digest) => Attempt::Found { digest, took: start.elapsed() },
        Err(error) => Attempt::Failed(error.to_string()),
    }
}

async fn resolve(remote: &Reference, host: &Host, known: &Known, object: &str) -> Result<String> {
    let credentials: Arc<dyn Credentials> = Arc::new(known.clone());
    let hosts = vec![host.clone()];
    let repository = Repository::at(&remote.registry, &remote.repository, hosts, &credentials, LIMITS)?;
    Ok(repository.resolve(object).await?.digest.to_string())
}

impl Attempt {
    /// What the host has, if it has the image.
    pub(super) fn digest(&self) -> Option<&str> {
        match self {
            Self::Found { digest, .. } => Some(digest),
            Self::NotAsked(_) | Self::Failed(_) => None,
        }
    }

    /// As JSON.
    pub(super) fn document(&self) -> Value {
        match self {
            Self::Found { digest, took } => json!({"digest": digest, "milliseconds": took.as_millis()}),
            Self::NotAsked(why) => json!({"notAsked": why}),
            Self::Failed(error) => json!({"error": error}),
        }
    }
}

impl fmt::Display for Attempt {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Found { digest, took } => write!(out, "{digest} in {} ms", took.as_millis()),
            Self::NotAsked(why) => write!(out, "not asked: {why}"),
            // One line of the table, whatever the registry said.
            Self::Failed(error) => out.write_str(&error.replace(['\n', '\t'], " ")),
        }
    }
}
