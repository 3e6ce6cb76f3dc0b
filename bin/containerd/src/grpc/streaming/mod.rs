//! Streaming.Stream: byte and message streams that requests refer to by id.
//!
//! ```text
//! client ── StreamInit{id} ──► registered ── empty ack ──► client
//!                                  │ a request names the id
//!                                  ▼
//!                               claimed: messages both ways, until either end leaves
//! ```
//! An id is unique in its namespace while its stream lives. A stream lives as long as its connection; an unclaimed
//! one with a lease goes with that lease.

mod bytes;
mod registry;

pub(super) use bytes::{decode, receive_bytes, send_bytes, send_file};
pub(super) use registry::{Registry, Stream};

use super::{reply::Replies, scope::scoped};
use model::Error;
use prost::{Message as _, Name as _};
use proto::{
    Any,
    api::containerd::services::streaming::v1::{StreamInit, streaming_server},
    convert::status,
};
use std::time::Duration;
use store::Store;
use tonic::{Request, Response, Status, Streaming};

/// How long a client may take to say which stream it opened.
const INIT_TIMEOUT: Duration = Duration::from_secs(60);
/// How often the lease of an unclaimed stream is looked for.
const LEASE_INTERVAL: Duration = Duration::from_secs(30);
/// Longest id, in bytes.
const MAX_ID: usize = 4096;

/// The service.
#[derive(Debug)]
pub(super) struct Streams {
    pub(super) registry: Registry,
    pub(super) store: Store,
}

#[tonic::async_trait]
impl streaming_server::Streaming for Streams {
    type StreamStream = Replies<Any>;

    async fn stream(&self, request: Request<Streaming<Any>>) -> Result<Response<Self::StreamStream>, Status> {
        let (scope, mut messages) = scoped(request)?;
        let first = tokio::time::timeout(INIT_TIMEOUT, messages.message()).await;
        let first = first.map_err(|_| status(Error::deadline_exceeded("no message came that names the stream")))??;
        let id = stream_id(first).map_err(status)?;
        let replies = self.registry.register(&scope, &id, messages).map_err(status)?;
        if scope.lease.is_some() {
            tokio::spawn(self.registry.clone().end_with_lease(self.store.clone(), scope, id, LEASE_INTERVAL));
        }
        Ok(Response::new(replies))
    }
}

fn stream_id(first: Option<Any>) -> model::Result<String> {
    let first = first.ok_or_else(|| Error::invalid_argument("the first message of a stream must name it"))?;
    if first.type_url != StreamInit::full_name() {
        let (found, wanted) = (&first.type_url, StreamInit::full_name());
        return Err(Error::invalid_argument(format!("the first message of a stream is a {found:?}, not a {wanted:?}")));
    }
    let init = StreamInit::decode(first.value.as_slice())
        .map_err(|error| Error::invalid_argument("malformed first message of a stream").caused_by(error))?;
    if init.id.is_empty() || init.id.len() > MAX_ID {
        return Err(Error::invalid_argument(format!("a stream's id has 1 to {MAX_ID} bytes, not {}", init.id.len())));
    }
    Ok(init.id)
}
