//! Bytes over a stream: the receiver opens a window, the sender fills it.

use super::stream::Stream;
use crate::Chunks;
use bytes::Bytes;
use model::{Error, Result};
use proto::api::containerd::types::transfer::{Data, WindowUpdate};
use std::io::Write;

/// Most bytes of one message: containerd's own readers expect no more.
const MESSAGE: usize = 32 << 10;

/// Bytes we let a daemon send before we have written them. It counts what it may send, whatever the size; a small
/// window costs a round trip each time.
const WINDOW: i32 = 1 << 20;

/// Sends what `source` gives, as far as the daemon's windows allow, and waits until the daemon has ended the stream.
///
/// # Errors
/// The source's. A daemon that ends the stream early is no error here: its reply says why.
pub(super) async fn send(mut stream: Stream, mut source: Chunks) -> Result<()> {
    let mut window = 0;
    while let Some(mut chunk) = source.next().await? {
        while !chunk.is_empty() {
            while window == 0 {
                match stream.next::<WindowUpdate>().await {
                    Ok(Some(update)) => window += usize::try_from(update.update).unwrap_or(0),
                    Ok(None) | Err(_) => return Ok(()),
                }
            }
            let data = chunk.split_to(message_len(chunk.len(), window));
            window -= data.len();
            if !stream.send(&Data { data }).await {
                return Ok(());
            }
        }
    }
    stream.finish();
    // Reset too early, the stream would lose what is on its way.
    while let Ok(Some(_)) = stream.next::<WindowUpdate>().await {}
    Ok(())
}

fn message_len(left: usize, window: usize) -> usize {
    left.min(window).min(MESSAGE)
}

/// Writes what the daemon sends to `sink`, to the end of the stream.
///
/// # Errors
/// The sink's, or the stream's if it broke.
pub(super) async fn receive(mut stream: Stream, mut sink: impl Write, what: &str) -> Result<()> {
    let failed = |error| Error::io(format!("write {what}"), error);
    let mut window: i64 = 0;
    loop {
        if window < i64::from(WINDOW) && stream.send(&WindowUpdate { update: WINDOW }).await {
            window += i64::from(WINDOW);
        }
        let Some(Data { data }) = stream.next::<Data>().await? else { break };
        window -= bytes_of(&data);
        sink.write_all(&data).map_err(failed)?;
    }
    sink.flush().map_err(failed)
}

fn bytes_of(data: &Bytes) -> i64 {
    i64::try_from(data.len()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_fits_the_window_and_the_reader() {
        assert_eq!(message_len(10, 100), 10);
        assert_eq!(message_len(1 << 20, 100), 100);
        assert_eq!(message_len(1 << 20, 1 << 20), MESSAGE);
    }
}
