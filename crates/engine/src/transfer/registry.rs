//! A registry as an end of a transfer.

use super::stream::ByteOutput;
use distribution::{Credentials, Observer};
use std::{path::PathBuf, sync::Arc};

/// An image in a registry, and how to reach it: containerd's `OCIRegistry` with its resolver.
#[derive(Debug)]
pub struct Registry {
    /// `host/repository[:tag][@digest]`.
    pub reference: String,
    /// Headers of every request.
    pub headers: Vec<(String, String)>,
    /// A folder of `hosts.toml` files, in place of the daemon's.
    pub hosts_dir: Option<PathBuf>,
    /// `http` or `https` for a host that no file describes.
    pub default_scheme: Option<String>,
    /// What is told about requests.
    pub http_debug: HttpDebug,
    /// Where that is told; nowhere: in the daemon's log.
    pub log: Option<ByteOutput>,
    /// Who we are.
    pub credentials: Arc<dyn Credentials>,
}

/// What is told about HTTP requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpDebug {
    /// Requests and responses, without bodies of blobs.
    pub requests: bool,
    /// Connections and names looked up.
    pub trace: bool,
}

impl Registry {
    /// What containerd's errors and events call it.
    pub fn what(&self) -> String {
        format!("OCI Registry ({})", self.reference)
    }
}

/// Tells of requests where the client wants to read it.
#[derive(Debug)]
struct HttpLog {
    to: Option<ByteOutput>,
    wanted: HttpDebug,
}

impl HttpLog {
    fn say(&self, text: &str) {
        match &self.to {
            // A client that does not read as fast loses lines, not time.
            Some(log) => log.offer(text.to_owned().into()),
            None => tracing::info!(target: "transfer::http", "{text}"),
        }
    }
}

impl Observer for HttpLog {
    fn tell(&self, text: &str) {
        if self.wanted.requests {
            self.say(text);
        }
    }

    fn trace(&self, text: &str) {
        if self.wanted.trace {
            self.say(text);
        }
    }
}

impl Registry {
    /// Who is told of requests and connections, if anybody wants to know.
    pub(super) fn observer(&self) -> Option<Arc<dyn Observer>> {
        let log = || HttpLog { to: self.log.clone(), wanted: self.http_debug };
        (self.http_debug != HttpDebug::default()).then(|| Arc::new(log()) as Arc<dyn Observer>)
    }
}
