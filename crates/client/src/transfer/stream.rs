//! A stream of messages beside a call: opened by us under an id, found by the daemon under the same.

use crate::{Client, Reply, error_of};
use model::{Error, Result};
use prost::{Message, Name};
use proto::Any;
use proto::api::containerd::services::streaming::v1::StreamInit;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Messages of ours that wait for the network.
const AHEAD: usize = 4;

/// An open stream. Dropping it resets it; the daemon sees a stream that was cancelled.
#[derive(Debug)]
pub(super) struct Stream {
    /// What the request calls it.
    pub(super) id: String,
    sender: Option<mpsc::Sender<Any>>,
    receiver: tonic::Streaming<Any>,
}

impl Client {
    /// Opens a stream, named after its `purpose`, in this client's namespace and lease.
    pub(super) async fn open_stream(&self, purpose: &str) -> Result<Stream> {
        let id = format!("{purpose}-{}", crate::unique_part());
        let (sender, messages) = mpsc::channel(AHEAD);
        // The channel is empty: this cannot fail. It must be there before the call, which is answered only then.
        let _ = sender.try_send(crate::any(&StreamInit { id: id.clone() }));
        let opened = self.streams().stream(ReceiverStream::new(messages)).await.reply();
        let mut receiver = opened.map_err(|error| error.context(format!("open a stream for {purpose}")))?;
        // The daemon says that it knows the id; before that it must not be used.
        match receiver.message().await.map_err(error_of)? {
            Some(_) => Ok(Stream { id, sender: Some(sender), receiver }),
            None => Err(Error::aborted(format!("stream {id}: the daemon ended it at once"))),
        }
    }
}

impl Stream {
    /// Sends `message`; `false` once the daemon has ended the stream.
    pub(super) async fn send<M: Message + Name>(&self, message: &M) -> bool {
        match &self.sender {
            Some(sender) => sender.send(crate::any(message)).await.is_ok(),
            None => false,
        }
    }

    /// Says that nothing more will be sent.
    pub(super) fn finish(&mut self) {
        self.sender = None;
    }

    /// The daemon's next message of this type; others, of a newer daemon, are passed over. `None` at the end.
    pub(super) async fn next<M: Message + Name + Default>(&mut self) -> Result<Option<M>> {
        while let Some(any) = self.receiver.message().await.map_err(error_of)? {
            if any.type_url == M::full_name() {
                let message = M::decode(any.value.as_slice());
                let message = message.map_err(|error| {
                    Error::internal(format!("stream {}: the daemon sent a broken message", self.id)).caused_by(error)
                })?;
                return Ok(Some(message));
            }
        }
        Ok(None)
    }
}
