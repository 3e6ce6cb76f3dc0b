//! The streams there are, by namespace and id.

use crate::grpc::reply::{Replies, blocking};
use model::{Error, Result, Scope};
use prost::Name as _;
use proto::{Any, convert::error_from_status};
use std::{
    collections::HashMap,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
    time::Duration,
};
use store::Store;
use tokio::sync::{mpsc, watch};
use tokio_stream::Stream as Sequence;
use tonic::{Status, Streaming};

/// Messages on their way to a client that have not left yet.
const CAPACITY: usize = 8;

type Key = (String, String);

/// Finds streams by id. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub(in crate::grpc) struct Registry(Arc<Mutex<HashMap<Key, Option<Stream>>>>);

/// A client's stream, as whoever claimed it has it. Dropping it ends it.
#[derive(Debug)]
pub(in crate::grpc) struct Stream {
    pub(in crate::grpc) id: String,
    messages: Streaming<Any>,
    replies: mpsc::Sender<Result<Any, Status>>,
    /// Its sender is dropped once everything has left, or nobody is there any more.
    sent: watch::Receiver<()>,
}

impl Registry {
    /// Registers a stream, and returns what is sent to its client, the empty acknowledgement first.
    ///
    /// # Errors
    /// `AlreadyExists` for an id in use.
    pub(in crate::grpc) fn register(&self, scope: &Scope, id: &str, messages: Streaming<Any>) -> Result<Replies<Any>> {
        let key = key(scope, id);
        let (replies, body) = mpsc::channel(CAPACITY);
        let acknowledgement = Any { type_url: <()>::full_name(), value: Vec::new() };
        // An empty channel has room.
        let _ = replies.try_send(Ok(acknowledgement));
        let (sending, sent) = watch::channel(());
        let mut streams = self.lock();
        if streams.contains_key(&key) {
            return Err(Error::already_exists(format!("stream {id:?}")));
        }
        streams.insert(key.clone(), Some(Stream { id: id.to_owned(), messages, replies, sent }));
        Ok(Box::pin(Body { body, _sending: sending, _registered: Registered { registry: self.clone(), key } }))
    }

    /// The stream `id`, for the caller alone.
    ///
    /// # Errors
    /// `NotFound`; `FailedPrecondition` if somebody else has it.
    pub(in crate::grpc) fn claim(&self, scope: &Scope, id: &str) -> Result<Stream> {
        let mut streams = self.lock();
        let slot = streams.get_mut(&key(scope, id)).ok_or_else(|| Error::not_found(format!("stream {id:?}")))?;
        slot.take().ok_or_else(|| Error::failed_precondition(format!("stream {id:?} is in use")))
    }

    /// Ends stream `id` once its lease is gone, if nobody has claimed it by then.
    pub(super) async fn end_with_lease(self, store: Store, scope: Scope, id: String, every: Duration) {
        let Some(mut sent) = self.watch(&scope, &id) else { return };
        loop {
            tokio::select! {
                // Never changes: it is over.
                _ = sent.changed() => return,
                () = tokio::time::sleep(every) => {}
            }
            let (store, owner) = (store.clone(), scope.clone());
            let lease = blocking(move || store.get_lease(&owner, owner.lease.as_deref().unwrap_or_default())).await;
            if lease.is_err_and(|error| error.code() == tonic::Code::NotFound) {
                // Its body goes with it, and takes it off the list.
                drop(self.claim(&scope, &id));
                return;
            }
        }
    }

    fn watch(&self, scope: &Scope, id: &str) -> Option<watch::Receiver<()>> {
        self.lock().get(&key(scope, id))?.as_ref().map(|stream| stream.sent.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Option<Stream>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn key(scope: &Scope, id: &str) -> Key {
    (scope.namespace.as_str().to_owned(), id.to_owned())
}

impl Stream {
    /// Sends a message, once there is room.
    ///
    /// # Errors
    /// `Cancelled` when the client has gone.
    pub(in crate::grpc) async fn send(&self, message: Any) -> Result<()> {
        let gone = |_| Error::cancelled(format!("the client of stream {:?} has gone", self.id));
        self.replies.send(Ok(message)).await.map_err(gone)
    }

    /// The next message; `None` once the client has sent its last.
    ///
    /// # Errors
    /// What broke the connection.
    pub(in crate::grpc) async fn receive(&mut self) -> Result<Option<Any>> {
        let message = self.messages.message().await;
        message.map_err(|status| error_from_status(&status).context(format!("stream {:?}", self.id)))
    }

    /// Ends the stream, and returns when everything has left or the client has gone.
    pub(in crate::grpc) async fn close(self) {
        let Self { id: _, messages, replies, mut sent } = self;
        drop(replies);
        // Never changes: ends with its sender.
        let _ = sent.changed().await;
        drop(messages);
    }
}

/// What is sent to a client. As long as it lives, so does the stream's id.
struct Body {
    body: mpsc::Receiver<Result<Any, Status>>,
    _sending: watch::Sender<()>,
    _registered: Registered,
}

impl Sequence for Body {
    type Item = Result<Any, Status>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.body.poll_recv(context)
    }
}

struct Registered {
    registry: Registry,
    key: Key,
}

impl Drop for Registered {
    fn drop(&mut self) {
        let stream = self.registry.lock().remove(&self.key);
        // Outside of the lock.
        drop(stream);
    }
}
