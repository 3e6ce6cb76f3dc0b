//! `containerd publish`: how shims without a connection of their own publish events.

use client::Client;
use model::{Error, Namespace, Result};
use prost::Message as _;
use proto::{Any, api::containerd::services::events::v1::PublishRequest};
use std::{
    io::{self, Read as _},
    time::Duration,
};

/// How long the daemon may take, each to be connected and to answer.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Largest event: what fits a request.
const MAX_EVENT: u64 = 16 << 20;

/// The event's place; the event itself comes on standard input.
#[derive(Debug, clap::Args)]
pub(super) struct Publish {
    /// Namespace to publish to
    #[arg(long, default_value = "")]
    namespace: String,
    /// Topic of the event
    #[arg(long, default_value = "")]
    topic: String,
}

impl Publish {
    /// Publishes to the daemon at `address`.
    pub(super) fn run(self, address: &str) -> Result<()> {
        if self.topic.is_empty() {
            return Err(Error::invalid_argument("topic required to publish event"));
        }
        if self.namespace.is_empty() {
            return Err(Error::failed_precondition("namespace is required"));
        }
        let namespace = Namespace::new(self.namespace)?;
        let mut bytes = Vec::new();
        io::stdin()
            .take(MAX_EVENT)
            .read_to_end(&mut bytes)
            .map_err(|error| Error::io("read event from standard input", error))?;
        let event = Any::decode(bytes.as_slice())
            .map_err(|error| Error::invalid_argument(format!("standard input is no encoded Any: {error}")))?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| Error::io("start runtime", error))?;
        runtime.block_on(async {
            let client = Client::connect(address, namespace, TIMEOUT).await?;
            let request = PublishRequest { topic: self.topic, event: Some(event) };
            let mut events = client.events();
            let publishing = events.publish(request);
            match tokio::time::timeout(TIMEOUT, publishing).await {
                Ok(published) => published.map(drop).map_err(|status| proto::convert::error_from_status(&status)),
                Err(_) => Err(Error::deadline_exceeded(format!("containerd at {address} did not answer"))),
            }
        })
    }
}
