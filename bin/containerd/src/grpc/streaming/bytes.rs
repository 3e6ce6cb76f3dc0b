//! Bytes over a stream of messages: `Data` one way, `WindowUpdate` the other.
//!
//! The receiver grants the sender so many bytes ahead; so a slow reader holds up its own stream and no other, and
//! neither side keeps more than the window.

use super::Stream;
use bytes::{Bytes, BytesMut};
use client::any;
use engine::transfer::{ByteFeed, ByteInput, ByteOutput};
use model::{Error, Result};
use prost::{Message, Name};
use proto::{
    Any,
    api::containerd::types::transfer::{Data, WindowUpdate},
};
use std::time::Duration;
use tokio::{sync::mpsc, task::JoinSet};

/// Most bytes in one message, containerd's `maxRead`.
const MAX_DATA: usize = 32 << 10;
/// What we grant a sender. containerd grants 64 KiB; more saves round trips.
const WINDOW: i32 = 1 << 20;
/// Pieces of a log, which are lost if the client is further behind.
const LINES: usize = 512;
/// What containerd's client grants at a time.
const BLOCK: usize = 64 << 10;
/// How long the end of a file may take to be written by a client that would say so.
const LAST_GRANT: Duration = Duration::from_secs(5);
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

/// Sends the client what is written, at once; ends the stream when that is all.
pub(in crate::grpc) fn send_bytes(stream: Stream, tasks: &mut JoinSet<()>) -> ByteOutput {
    spawn(stream, false, tasks)
}

/// The same for a file, whose end has been written by the client when the task is done.
///
/// containerd's client does not wait for the end of the stream: once its request is answered it closes its file,
/// and what it has not written by then is lost. So the answer waits for a sign that it has, see [`Sender::finish`].
pub(in crate::grpc) fn send_file(stream: Stream, tasks: &mut JoinSet<()>) -> ByteOutput {
    spawn(stream, true, tasks)
}

fn spawn(stream: Stream, is_file: bool, tasks: &mut JoinSet<()>) -> ByteOutput {
    let (output, pieces) = ByteOutput::pipe(if is_file { PIECES } else { LINES });
    let sender = Sender { stream, is_file, window: 0, first_grant: None, sent: 0, buffer: BytesMut::new() };
    tasks.spawn(async move {
        let id = sender.stream.id.clone();
        if let Err(error) = sender.run(pieces).await {
            tracing::debug!(stream = id, %error, "byte stream ended early");
        }
    });
    output
}

/// The sending side of a byte stream.
struct Sender {
    stream: Stream,
    is_file: bool,
    /// What the client takes just now, in bytes.
    window: usize,
    first_grant: Option<usize>,
    sent: u64,
    buffer: BytesMut,
}

impl Sender {
    async fn run(mut self, mut pieces: mpsc::Receiver<Bytes>) -> Result<()> {
        while let Some(piece) = self.next(&mut pieces).await? {
            self.buffer.extend_from_slice(&piece);
            loop {
                let len =
                    if self.is_file { before_last_block(self.sent, self.buffer.len()) } else { self.buffer.len() };
                if len == 0 {
                    break;
                }
                self.send(len.min(MAX_DATA), 1).await?;
            }
        }
        self.finish().await?;
        self.stream.close().await;
        Ok(())
    }

    /// The next piece to send. Meanwhile the client may grant more, or leave.
    async fn next(&mut self, pieces: &mut mpsc::Receiver<Bytes>) -> Result<Option<Bytes>> {
        loop {
            tokio::select! {
                biased;
                piece = pieces.recv() => return Ok(piece),
                message = self.stream.receive() => self.granted(message?)?,
            }
        }
    }

    /// Sends up to `len` bytes, at least `least`, once the client takes them.
    async fn send(&mut self, len: usize, least: usize) -> Result<()> {
        while self.window < least {
            let message = self.stream.receive().await?;
            self.granted(message)?;
        }
        let data = self.buffer.split_to(len.min(self.window)).freeze();
        self.window -= data.len();
        self.sent += data.len() as u64;
        self.stream.send(any(&Data { data })).await
    }

    /// Sends what is left.
    ///
    /// containerd's client grants 64 KiB, and again as soon as less than that is open: just when it has written the
    /// first byte of a block of 64 KiB. The last block goes in one message, so that this grant tells of all of it.
    async fn finish(&mut self) -> Result<()> {
        if !self.is_file || self.first_grant != Some(BLOCK) || self.buffer.is_empty() {
            while !self.buffer.is_empty() {
                self.send(self.buffer.len().min(MAX_DATA), 1).await?;
            }
            return Ok(());
        }
        let len = self.buffer.len();
        self.send(len, len).await?;
        let grant = tokio::time::timeout(LAST_GRANT, self.stream.receive()).await;
        grant.map_or(Ok(()), |message| self.granted(message?))
    }

    fn granted(&mut self, message: Option<Any>) -> Result<()> {
        let before = self.window;
        self.window = granted(message, before)?;
        self.first_grant.get_or_insert(self.window - before);
        Ok(())
    }
}

/// How many of `buffered` bytes, after `sent` ones, belong to a block that is not the last.
fn before_last_block(sent: u64, buffered: usize) -> usize {
    let in_block = usize::try_from(sent % BLOCK as u64).unwrap_or(0);
    let rest = BLOCK - in_block;
    if buffered > rest { rest } else { 0 }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_block_is_held_back() {
        assert_eq!(before_last_block(0, BLOCK), 0);
        assert_eq!(before_last_block(0, BLOCK + 1), BLOCK);
        assert_eq!(before_last_block(100, BLOCK), BLOCK - 100);
        assert_eq!(before_last_block(BLOCK as u64, 1), 0);
    }

    #[test]
    fn windows_add_up() {
        let update = |update| Some(any(&WindowUpdate { update }));
        assert_eq!(granted(update(5), 3).unwrap(), 8);
        assert_eq!(granted(update(i32::MAX), 3).unwrap(), i32::MAX as usize);
        assert!(granted(update(-1), 3).is_err());
        assert!(granted(None, 3).is_err());
        // What is unknown changes nothing.
        assert_eq!(granted(Some(any(&Data { data: Bytes::new() })), 3).unwrap(), 3);
    }
}
