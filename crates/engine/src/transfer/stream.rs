//! Byte streams as ends of a transfer.

use bytes::Bytes;
use client::oci::Platform;
use model::{Error, Result};
use tokio::sync::mpsc;

/// Bytes coming in, in pieces of any size. An error ends them; so does, as an error, the loss of the other end.
#[derive(Debug)]
pub struct ByteInput(mpsc::Receiver<Piece>);

/// The other end of a [`ByteInput`].
#[derive(Debug)]
pub struct ByteFeed(mpsc::Sender<Piece>);

/// Bytes going out. Whoever holds the other end sees the end when this is dropped.
#[derive(Clone, Debug)]
pub struct ByteOutput(mpsc::Sender<Bytes>);

#[derive(Debug)]
enum Piece {
    Some(Bytes),
    Broken(Error),
    End,
}

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
    /// The two ends of a pipe that holds at most `pieces` pieces.
    pub fn pipe(pieces: usize) -> (ByteFeed, Self) {
        let (sender, receiver) = mpsc::channel(pieces.max(1));
        (ByteFeed(sender), Self(receiver))
    }

    /// The next piece, `None` at the end.
    ///
    /// # Errors
    /// What broke the stream.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        piece(self.0.recv().await)
    }

    /// The same from a thread that may block.
    ///
    /// # Errors
    /// As [`ByteInput::next`].
    pub fn blocking_next(&mut self) -> Result<Option<Bytes>> {
        piece(self.0.blocking_recv())
    }
}

fn piece(piece: Option<Piece>) -> Result<Option<Bytes>> {
    match piece {
        Some(Piece::Some(bytes)) => Ok(Some(bytes)),
        Some(Piece::End) => Ok(None),
        Some(Piece::Broken(error)) => Err(error),
        None => Err(Error::cancelled("the stream's writer has gone")),
    }
}

impl ByteFeed {
    /// Feeds a piece, once there is room.
    ///
    /// # Errors
    /// `Cancelled` when nobody reads any more.
    pub async fn send(&self, piece: Bytes) -> Result<()> {
        self.0.send(Piece::Some(piece)).await.map_err(|_| closed())
    }

    /// Tells the reader that this was all, or what broke it.
    pub async fn end(self, result: Result<()>) {
        let _gone = self.0.send(result.map_or_else(Piece::Broken, |()| Piece::End)).await;
    }

    /// Returns once nobody reads any more.
    pub async fn unread(&self) {
        self.0.closed().await;
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
