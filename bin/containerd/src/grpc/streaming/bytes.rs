//! Bytes over a stream of messages: `Data` one way, `WindowUpdate` the other.
//!
//! The receiver grants the sender so many bytes ahead; so a slow reader holds up its own stream and no other, and
//! neither side keeps more than the window.

use super::Stream;
use bytes::Bytes;
use client::any;
use engine::transfer::{ByteFeed, ByteInput, ByteOutput};
use model::{Error, Result};
use prost::{Message, Name};
use proto::{
    Any,
    api::containerd::types::transfer::{Data, WindowUpdate},
};
use tokio::{sync::mpsc, task::JoinSet};

/// Most bytes in one message, containerd's `maxRead`.
const MAX_DATA: usize = 32 << 10;
/// What we grant a sender. containerd grants 64 KiB; more saves round trips.
const WINDOW: i32 = 1 << 20;
/// Pieces that a reader or writer of ours is ahead.
const PIECES: usize = 8;

/// What the client sends, as it comes. It goes on as long as somebody reads.
pub(in crate::grpc) fn receive_bytes(stream: Stream, tasks: &mut JoinSet<()>) -> ByteInput {
    let (feed, input) = ByteInput::pipe(PIECES);
    tasks.spawn(receive(stream, feed));
    input
}

async fn receive(mut stream: Stream, feed: ByteFeed) {
    let done = tokio::select! {
        done = receive_all(&mut stream, &feed) => done,
        () = feed.unread() => return,
    };
    feed.end(done).await;
    stream.close().await;
}

async fn receive_all(stream: &mut Stream, feed: &ByteFeed) -> Result<()> {
    let mut granted = 0;
    loop {
        if granted <= WINDOW / 2 {
            let update = WINDOW - granted;
            match stream.send(any(&WindowUpdate { update })).await {
                Ok(()) => granted = WINDOW,
                // A client that takes no answers may still have sent everything.
                Err(error) if error.kind() == model::Kind::Cancelled => granted = WINDOW,
                Err(error) => return Err(error),
            }
        }
        let Some(message) = stream.receive().await? else { return Ok(()) };
        // Others are for a newer protocol, and containerd ignores them too.
        let Some(data) = decode::<Data>(&message)? else { continue };
        let len = i32::try_from(data.data.len()).ok().filter(|len| *len <= granted).ok_or_else(|| {
            Error::resource_exhausted(format!("{} bytes came on a window of {granted}", data.data.len()))
        })?;
        granted -= len;
        feed.send(data.data).await?;
    }
}

/// Sends the client what is written; ends the stream when that is all.
pub(in crate::grpc) fn send_bytes(stream: Stream, tasks: &mut JoinSet<()>) -> ByteOutput {
    let (output, pieces) = ByteOutput::pipe(PIECES);
    tasks.spawn(async move {
        let id = stream.id.clone();
        if let Err(error) = send(stream, pieces).await {
            tracing::debug!(stream = id, %error, "byte stream ended early");
        }
    });
    output
}

async fn send(mut stream: Stream, mut pieces: mpsc::Receiver<Bytes>) -> Result<()> {
    let mut window = 0_usize;
    while let Some(mut piece) = next(&mut stream, &mut pieces, &mut window).await? {
        while !piece.is_empty() {
            while window == 0 {
                window = granted(stream.receive().await?, window)?;
            }
            let data = piece.split_to(piece.len().min(window).min(MAX_DATA));
            window -= data.len();
            stream.send(any(&Data { data })).await?;
        }
    }
    stream.close().await;
    Ok(())
}

/// The next piece to send. Meanwhile the client may grant more, or leave.
async fn next(stream: &mut Stream, pieces: &mut mpsc::Receiver<Bytes>, window: &mut usize) -> Result<Option<Bytes>> {
    loop {
        tokio::select! {
            biased;
            piece = pieces.recv() => return Ok(piece),
            message = stream.receive() => *window = granted(message?, *window)?,
        }
    }
}

/// The window after `message`.
fn granted(message: Option<Any>, window: usize) -> Result<usize> {
    let message = message.ok_or_else(|| Error::cancelled("the receiver of a byte stream has gone"))?;
    let Some(WindowUpdate { update }) = decode(&message)? else { return Ok(window) };
    let update =
        usize::try_from(update).map_err(|_| Error::invalid_argument(format!("window update {update} is negative")))?;
    // No more than fits containerd's own counter.
    Ok(window.saturating_add(update).min(i32::MAX as usize))
}

/// `message` as an `M`, if it is one.
///
/// # Errors
/// `InvalidArgument` for bytes that are none.
pub(in crate::grpc) fn decode<M: Message + Name + Default>(message: &Any) -> Result<Option<M>> {
    if message.type_url != M::full_name() {
        return Ok(None);
    }
    M::decode(message.value.as_slice())
        .map(Some)
        .map_err(|error| Error::invalid_argument(format!("malformed {}", M::full_name())).caused_by(error))
}
