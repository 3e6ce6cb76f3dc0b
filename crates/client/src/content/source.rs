//! Where the bytes of a blob come from.

use crate::progress::{Event, Progress};
use bytes::Bytes;
use model::{Digest, Error, Result};
use std::{
    fs::File,
    future::poll_fn,
    io,
    os::unix::fs::FileExt as _,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};
use tokio::sync::mpsc;
use tokio_stream::Stream;

/// Bytes of a chunk: large enough that messages cost little, small enough to bound memory.
pub(crate) const CHUNK: usize = 1 << 20;

/// Chunks read ahead of the network.
const AHEAD: usize = 2;

/// A blob's bytes in order. Dropping it stops whoever produces them.
#[derive(Debug)]
pub struct Chunks {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    what: String,
    watcher: Option<Watcher>,
}

/// Who is told of every chunk that is on its way, and as what.
struct Watcher(Arc<dyn Progress>, Digest);

impl std::fmt::Debug for Watcher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_tuple("Watcher").field(&self.1).finish()
    }
}

impl Chunks {
    /// Chunks that another task sends; errors name `what`.
    pub fn channel(what: impl Into<String>) -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, receiver) = mpsc::channel(AHEAD);
        (sender, Self { receiver, what: what.into(), watcher: None })
    }

    /// A blob that is in memory.
    pub fn of(what: impl Into<String>, bytes: Bytes) -> Self {
        let (sender, chunks) = Self::channel(what);
        // The channel is empty: this cannot fail.
        let _ = sender.try_send(Ok(bytes));
        chunks
    }

    /// `size` bytes of `file` from `offset` on, read by a blocking task.
    pub fn of_file(what: impl Into<String>, file: Arc<File>, offset: u64, size: u64) -> Self {
        let (sender, chunks) = Self::channel(what);
        tokio::task::spawn_blocking(move || {
            let (mut at, end) = (offset, offset.saturating_add(size));
            while at < end {
                let want = usize::try_from(end - at).unwrap_or(CHUNK).min(CHUNK);
                let mut chunk = vec![0; want];
                let read = file.read_exact_at(&mut chunk, at).map(|()| Bytes::from(chunk));
                let failed = read.is_err();
                if sender.blocking_send(read).is_err() || failed {
                    return;
                }
                at += want as u64;
            }
        });
        chunks
    }

    /// What a reader gives, to its end, read by a blocking task.
    pub fn of_reader(what: impl Into<String>, mut reader: impl io::Read + Send + 'static) -> Self {
        let (sender, chunks) = Self::channel(what);
        tokio::task::spawn_blocking(move || {
            loop {
                let mut chunk = vec![0; CHUNK];
                let read = fill(&mut reader, &mut chunk).map(|len| {
                    chunk.truncate(len);
                    Bytes::from(chunk)
                });
                let last = read.as_ref().map_or(true, Bytes::is_empty);
                let at_end = read.as_ref().is_ok_and(Bytes::is_empty);
                if at_end || sender.blocking_send(read).is_err() || last {
                    return;
                }
            }
        });
        chunks
    }

    /// The same; `progress` is told of every chunk as part of blob `digest`.
    #[must_use]
    pub fn watched(mut self, progress: Arc<dyn Progress>, digest: Digest) -> Self {
        self.watcher = Some(Watcher(progress, digest));
        self
    }

    /// The next bytes, `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let chunk = poll_fn(|context| self.poll(context)).await.transpose();
        chunk.map_err(|error| Error::io(format!("read {}", self.what), error))
    }

    fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<io::Result<Bytes>>> {
        let chunk = self.receiver.poll_recv(context);
        if let (Some(Watcher(progress, digest)), Poll::Ready(Some(Ok(chunk)))) = (&self.watcher, &chunk) {
            progress.on(Event::Sent(digest, chunk.len() as u64));
        }
        chunk
    }
}

impl Stream for Chunks {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll(context)
    }
}

/// Reads until `buffer` is full or the input ends.
pub(crate) fn fill(reader: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match reader.read(&mut buffer[filled..]) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
