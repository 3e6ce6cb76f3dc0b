//! Byte streams as ends of a transfer.

use bytes::Bytes;
use client::oci::Platform;
use model::{Error, Result};
use std::{fmt, pin::Pin};
use tokio::sync::mpsc;
use tokio_stream::{Stream, StreamExt as _};

/// Bytes coming in, in pieces of any size. An error ends them.
pub struct ByteInput(Pin<Box<dyn Stream<Item = Result<Bytes>> + Send>>);

/// Bytes going out. Whoever holds the other end sees the end when this is dropped.
#[derive(Clone, Debug)]
pub struct ByteOutput(mpsc::Sender<Bytes>);

/// A tar archive to import: an OCI layout, or what `docker save` writes.
#[derive(Debug)]
pub struct ImportStream {
    /// The archive.
    pub input: ByteInput,
    /// Empty: perhaps compressed as a whole, as its first bytes tell. Else it is plain tar.
    pub media_type: String,
    /// Whether layers that are not compressed get so.
    pub force_compress: bool,
}

/// A tar archive to export into: an OCI layout.
#[derive(Debug)]
pub struct ExportStream {
    /// The archive.
    pub output: ByteOutput,
    /// Which platforms of an index, the best first; none: this machine's.
    pub platforms: Vec<Platform>,
    /// Every platform of an index.
    pub all_platforms: bool,
    /// Leave out Docker's `manifest.json`.
    pub skip_docker_manifest: bool,
    /// Leave out layers that may not be distributed.
    pub skip_non_distributable: bool,
}

impl ByteInput {
    /// Reads from `stream`.
    pub fn new(stream: impl Stream<Item = Result<Bytes>> + Send + 'static) -> Self {
        Self(Box::pin(stream))
    }

    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// What broke the stream.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        self.0.next().await.transpose()
    }
}

impl fmt::Debug for ByteInput {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("ByteInput")
    }
}

impl ByteOutput {
    /// The two ends of a pipe that holds at most `pieces` pieces.
    pub fn pipe(pieces: usize) -> (Self, mpsc::Receiver<Bytes>) {
        let (sender, receiver) = mpsc::channel(pieces.max(1));
        (Self(sender), receiver)
    }

    /// Sends a piece, once there is room.
    ///
    /// # Errors
    /// `Cancelled` when nobody reads any more.
    pub async fn send(&self, piece: Bytes) -> Result<()> {
        self.0.send(piece).await.map_err(|_| closed())
    }

    /// The same from a thread that may block.
    ///
    /// # Errors
    /// As [`ByteOutput::send`].
    pub fn blocking_send(&self, piece: Bytes) -> Result<()> {
        self.0.blocking_send(piece).map_err(|_| closed())
    }

    /// Sends a piece if there is room just now, and drops it if not: for logs.
    pub fn offer(&self, piece: Bytes) {
        let _lost = self.0.try_send(piece);
    }
}

fn closed() -> Error {
    Error::cancelled("the stream's reader has gone")
}
