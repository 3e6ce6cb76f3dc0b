//! A blob sent whole, however often connections break on the way.
//!
//! ```text
//! upload ── one request ──► done
//!   ▲           │ breaks
//!   │           ▼
//!   │   what has it got? ── so many bytes ──► the rest in pieces ──► done
//!   └────────── nothing is known of it          │ breaks: asked again
//! ```

use super::{Mounted, Repository, Upload, request::passing, uploads::Uploads};
use bytes::{Bytes, BytesMut};
use model::{Digest, Error, Result};
use std::io;
use tokio_stream::{Stream, StreamExt as _};

/// Attempts to begin an upload, and to go on with each.
const ATTEMPTS: u32 = 3;
/// Bytes of one request, where the rest of a blob is sent.
const PIECE: usize = 4 << 20;
/// Most bytes that a registry may want each of those requests to have.
const LARGEST: usize = 32 << 20;

impl Repository {
    /// Sees to it that the registry has blob `digest` of `size` bytes, mounting it from repository `source` if that can
    /// be. `open` gives the blob's bytes from an offset on when they have a turn of `uploads`, and may be asked more
    /// than once. Returns whether bytes were sent.
    ///
    /// # Errors
    /// The registry's, or those of `open`, after three attempts.
    pub async fn push_blob<F, S>(
        &self,
        digest: &Digest,
        size: u64,
        source: Option<&str>,
        uploads: &Uploads,
        open: impl Fn(u64) -> F + Send + Sync,
    ) -> Result<bool>
    where
        F: Future<Output = Result<S>> + Send,
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    {
        let mut lost = None;
        for _ in 0..ATTEMPTS {
            let Mounted::Upload(mut upload) = self.upload(digest, source).await? else { return Ok(false) };
            match upload.send(size, uploads, &open).await? {
                None => return Ok(true),
                broken => lost = broken,
            }
        }
        Err(lost.unwrap_or_else(|| Error::internal("no attempt was made")))
    }
}

impl Upload<'_> {
    /// Sends the blob. Returns what broke an upload that has to be begun anew, because the registry cannot say what it
    /// has got of it.
    async fn send<F, S>(
        &mut self,
        size: u64,
        uploads: &Uploads,
        open: &(impl Fn(u64) -> F + Send + Sync),
    ) -> Result<Option<Error>>
    where
        F: Future<Output = Result<S>> + Send,
        S: Stream<Item = io::Result<Bytes>> + Send + Unpin + 'static,
    {
        for before in 0..ATTEMPTS {
            let turn = uploads.turn(size).await?;
            let bytes = turn.of(open(self.offset()).await?);
            let goes_on = self.offset() > 0;
            let sent = if goes_on { self.pieces(bytes).await } else { self.whole(size, bytes).await };
            drop(turn);
            let Err(error) = sent else { return Ok(None) };
            tracing::debug!(%error, "an upload broke");
            // Who wants no pieces may want the whole.
            if goes_on && passing(&error).is_none() {
                return Ok(Some(error));
            }
            if before + 1 == ATTEMPTS {
                return Err(error);
            }
            self.let_pass(&error, before).await;
            // Some registries drop what broke, some cannot be asked, some do not know what they have.
            if self.least() > LARGEST || self.status().await.is_err() || self.offset() > size {
                return Ok(Some(error));
            }
        }
        Err(Error::internal("no attempt was made"))
    }

    /// Sends the rest.
    async fn pieces(&mut self, mut bytes: impl Stream<Item = io::Result<Bytes>> + Unpin) -> Result<()> {
        let size = PIECE.max(self.least());
        let mut piece = BytesMut::new();
        while let Some(chunk) = bytes.next().await {
            piece.extend_from_slice(&chunk.map_err(|error| Error::io(format!("read {}", self.digest()), error))?);
            if piece.len() >= size {
                self.chunk(piece.split().freeze()).await?;
            }
        }
        if !piece.is_empty() {
            self.chunk(piece.freeze()).await?;
        }
        self.commit().await
    }
}
