//! A large blob over several requests at a time.
//!
//! ```text
//!   segment ┌ part 0 ─► passed on as it comes
//!           ├ part 1 ─► kept in memory until those before it are through
//!           └ part 2 ─► the same                     … then the next segment
//! ```
//! One connection is often slower than the line (long ways, per-connection limits of a registry). Only turns that
//! nobody waits for are used for more, so several layers at a time go first; what is kept in memory is bounded for all
//! blobs together. A registry that knows no ranges sends the whole with the first answer.

use super::{
    Shared, Want,
    network::{self, pass, pass_all},
    turns::Turn,
};
use bytes::Bytes;
use distribution::{Blob, Repository};
use model::{Error, Result};
use std::{collections::VecDeque, sync::Arc};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    task::AbortHandle,
};

/// From this size on a blob is large.
pub(super) const LARGE: u64 = 16 << 20;
/// Bytes after which it is decided anew how many requests there are at a time.
const SEGMENT: u64 = 32 << 20;
/// Bytes of one request of several, unless configured.
const PART: u64 = 4 << 20;
/// What may be configured: less costs more in requests than it gains, more is too much memory.
const PARTS: std::ops::RangeInclusive<u64> = (256 << 10)..=(8 << 20);
/// Most requests for one blob beside the first.
const MORE: usize = 3;
/// Most bytes of parts kept in memory for all blobs.
const MEMORY: u64 = 16 << 20;

/// The bounds of parts.
#[derive(Debug)]
pub(super) struct Parts {
    size: u64,
    in_memory: Arc<Semaphore>,
}

impl Parts {
    /// Parts of `size` bytes; 0: our choice.
    pub(super) fn new(size: usize) -> Self {
        let size = if size == 0 { PART } else { (size as u64).clamp(*PARTS.start(), *PARTS.end()) };
        Self { size, in_memory: Arc::new(Semaphore::new(usize::try_from(MEMORY / size).unwrap_or(1))) }
    }
}

/// A part on its way into memory. Dropping it stops that.
struct Part {
    chunks: mpsc::UnboundedReceiver<Result<Bytes>>,
    task: AbortHandle,
    /// Its right to be, for the next one.
    held: Option<(Turn, OwnedSemaphorePermit)>,
}

impl Drop for Part {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Sends the bytes of `want` from `offset` on.
pub(super) async fn send(shared: &Shared, want: &Want, offset: u64, chunks: &mpsc::Sender<Bytes>) -> Result<()> {
    let blob = &want.blob;
    let mut at = offset;
    while at < blob.size {
        let segment = (at + SEGMENT).min(blob.size);
        let mut more: Vec<_> = std::iter::from_fn(|| spare(shared, want)).take(MORE).collect();
        let first = if more.is_empty() { segment } else { (at + shared.parts.size).min(segment) };
        let whole = network::whole(blob);
        let mut body = want.repository.blob(Blob { offset: at, end: first, ..whole.clone() }).await?;
        if !body.is_ranged() {
            drop(more);
            body.extend(blob.size);
            return pass_all(chunks, &mut body).await;
        }
        let mut parts = VecDeque::new();
        let mut next = first;
        loop {
            while next < segment
                && let Some(held) = more.pop()
            {
                let end = (next + shared.parts.size).min(segment);
                let part = Blob { offset: next, end, ..whole.clone() };
                parts.push_back(Part::begin(Arc::clone(&want.repository), part, held));
                next = end;
            }
            if at < first {
                pass_all(chunks, &mut body).await?;
                at = first;
            } else if let Some(mut part) = parts.pop_front() {
                while let Some(chunk) = part.chunks.recv().await {
                    let chunk = chunk?;
                    at += chunk.len() as u64;
                    pass(chunks, chunk).await?;
                }
                more.extend(part.held.take());
            } else {
                break;
            }
        }
        if at < next {
            return Err(Error::internal(format!("a part of {} ended early", blob.digest)));
        }
    }
    Ok(())
}

/// The right to one more request.
fn spare(shared: &Shared, want: &Want) -> Option<(Turn, OwnedSemaphorePermit)> {
    let memory = Arc::clone(&shared.parts.in_memory).try_acquire_owned().ok()?;
    Some((shared.turns.spare(want.repository.registry())?, memory))
}

impl Part {
    fn begin(repository: Arc<Repository>, blob: Blob, held: (Turn, OwnedSemaphorePermit)) -> Self {
        // As many bytes as the part has, at most.
        let (sender, chunks) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let fetch = async {
                let mut body = repository.blob(blob).await?;
                while let Some(chunk) = body.chunk().await? {
                    if sender.send(Ok(chunk)).is_err() {
                        break;
                    }
                }
                Ok(())
            };
            if let Err(error) = fetch.await {
                let _nobody_waits = sender.send(Err(error));
            }
        });
        Self { chunks, task: task.abort_handle(), held: Some(held) }
    }
}
