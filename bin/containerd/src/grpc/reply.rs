//! How services do their work and stream their answers.

use model::Result;
use proto::convert::status;
use std::pin::Pin;
use tokio::sync::mpsc;
use tokio_stream::{Stream, wrappers::ReceiverStream};
use tonic::{Response, Status};

/// Most records in one message of a streamed list, as in containerd.
const BLOCK: usize = 100;

/// A stream of answers.
pub(crate) type Replies<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// Runs `work`, which may wait for the disk, on the blocking pool.
///
/// It runs to its end even if the caller has gone, so nothing is left half-done.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(status),
        Err(error) => Err(Status::internal(format!("request failed: {error}"))),
    }
}

/// Streams `records` in messages of up to 100, converted as they are asked for.
pub(crate) fn in_blocks<M, W, T>(records: Vec<M>, message: fn(Vec<W>) -> T) -> Response<Replies<T>>
where
    M: Into<W> + Send + 'static,
    W: 'static,
    T: Send + 'static,
{
    let mut records = records.into_iter();
    let blocks = std::iter::from_fn(move || {
        let block: Vec<W> = records.by_ref().take(BLOCK).map(Into::into).collect();
        (!block.is_empty()).then(|| Ok(message(block)))
    });
    Response::new(Box::pin(tokio_stream::iter(blocks)))
}

/// A stream fed through a channel of `capacity` answers; its header is sent at once.
pub(crate) fn channel<T: Send + 'static>(capacity: usize) -> (mpsc::Sender<Result<T, Status>>, Response<Replies<T>>) {
    let (sender, receiver) = mpsc::channel(capacity);
    (sender, Response::new(Box::pin(ReceiverStream::new(receiver))))
}
