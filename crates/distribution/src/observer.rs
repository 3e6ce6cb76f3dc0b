//! Who is told what goes over the wire, for `--http-dump` and `--http-trace`.

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use std::{
    fmt,
    net::SocketAddr,
    sync::{Arc, OnceLock},
};

/// Told of requests to a registry and of answers, headers included, but neither bodies nor secrets; and of connections.
pub trait Observer: fmt::Debug + Send + Sync {
    /// Some lines of text about a request or an answer.
    fn tell(&self, text: &str);

    /// A line about a name looked up, or the connection that an answer came by.
    fn trace(&self, text: &str);
}

/// The observer of a host's requests, once there is one. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Observed(Arc<OnceLock<Arc<dyn Observer>>>);

impl Observed {
    /// From now on `observer` is told.
    pub(crate) fn by(&self, observer: &Arc<dyn Observer>) {
        // An error means that somebody is told already.
        let _ = self.0.set(Arc::clone(observer));
    }

    pub(crate) fn tell(&self, text: impl FnOnce() -> String) {
        if let Some(observer) = self.0.get() {
            observer.tell(&text());
        }
    }

    /// Also into the log.
    pub(crate) fn trace(&self, text: &str) {
        tracing::debug!(target: "distribution::trace", "{text}");
        if let Some(observer) = self.0.get() {
            observer.trace(&format!("* {text}\n"));
        }
    }
}

/// Looks names up as every program does, and tells of it.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) Observed);

impl Resolve for Names {
    fn resolve(&self, name: Name) -> Resolving {
        let observed = self.0.clone();
        Box::pin(async move {
            let name = name.as_str();
            observed.trace(&format!("looking up {name}"));
            // The port is filled in later.
            let found: Vec<SocketAddr> = match tokio::net::lookup_host((name, 0)).await {
                Ok(found) => found.collect(),
                Err(error) => {
                    observed.trace(&format!("{name} was not found: {error}"));
                    return Err(error.into());
                }
            };
            let addresses: Vec<String> = found.iter().map(|address| address.ip().to_string()).collect();
            observed.trace(&format!("{name} is {}", addresses.join(", ")));
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}
