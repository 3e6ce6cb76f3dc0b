//! Bytes over a stream: the receiver opens a window, the sender fills it.

use super::stream::Stream;
use crate::Chunks;
use bytes::Bytes;
use model::{Error, Result};
use proto::api::containerd::types::transfer::{Data, WindowUpdate};
use std::{io::Write, time::Duration};
use tokio::sync::watch;

/// Most bytes of one message: containerd's own readers expect no more.
const MESSAGE: usize = 32 << 10;

/// Bytes we let a daemon send before we have written them. It counts what it may send, whatever the size; a small
/// window costs a round trip each time.
const WINDOW: i32 = 1 << 20;

/// How long a stream has to be silent after the daemon's reply for an archive to be over. containerd's own daemon does
/// not end the stream of an export.
const SILENCE: Duration = Duration::from_secs(1);

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

/// Writes what the daemon sends to `sink`, to the end of the stream; that of an archive is over too when the daemon has
/// `replied` and the archive is whole.
///
/// # Errors
/// The sink's, or the stream's if it broke.
pub(super) async fn receive(
    mut stream: Stream,
    mut sink: impl Write,
    what: &str,
    mut replied: Option<watch::Receiver<bool>>,
) -> Result<()> {
    let failed = |error| Error::io(format!("write {what}"), error);
    let (mut window, mut tail) = (0_i64, Tail::default());
    loop {
        if window < i64::from(WINDOW) && stream.send(&WindowUpdate { update: WINDOW }).await {
            window += i64::from(WINDOW);
        }
        let data = tokio::select! {
            biased;
            data = stream.next::<Data>() => data?,
            () = silence(&mut replied), if tail.ends_an_archive() => None,
        };
        let Some(Data { data }) = data else { break };
        window -= bytes_of(&data);
        tail.add(&data);
        sink.write_all(&data).map_err(failed)?;
    }
    sink.flush().map_err(failed)
}

/// Ends when the daemon's reply has been there for a while.
async fn silence(replied: &mut Option<watch::Receiver<bool>>) {
    let Some(replied) = replied else { return std::future::pending().await };
    // An error means that the transfer is over without a reply, and we with it.
    if replied.wait_for(|replied| *replied).await.is_err() {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(SILENCE).await;
}

/// What is known of the last bytes written.
#[derive(Default)]
struct Tail {
    len: usize,
    /// Zeros at the end.
    zeros: usize,
}

impl Tail {
    fn add(&mut self, data: &[u8]) {
        let zeros = data.iter().rev().take_while(|byte| **byte == 0).count();
        self.zeros = if zeros == data.len() { self.zeros + zeros } else { zeros };
        self.len += data.len();
    }

    /// Whether a tar could end here: whole blocks, the last two empty.
    fn ends_an_archive(&self) -> bool {
        self.len.is_multiple_of(512) && self.zeros >= 1024
    }
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

    #[test]
    fn an_archive_ends_with_two_empty_blocks() {
        let mut tail = Tail::default();
        assert!(!tail.ends_an_archive());
        for (data, is_end) in [(&[1; 512][..], false), (&[0; 512], false), (&[0; 511], false), (&[0], true)] {
            tail.add(data);
            assert_eq!(tail.ends_an_archive(), is_end);
        }
        tail.add(&[2]);
        tail.add(&[0; 1024]);
        assert!(!tail.ends_an_archive(), "not at the end of a block");
    }
}
