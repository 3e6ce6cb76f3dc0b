//! How many blobs are uploaded at a time.
//!
//! ```text
//! place ─────────────────────────────────────────────────► done
//!   is it there? begin │ turn: bytes go out │ the registry syncs, and answers
//! ```
//!
//! A registry makes a blob durable before it answers. Another blob's bytes go out meanwhile: a turn ends with the last
//! byte or the answer, whichever is first, a place with the answer.

use model::{Error, Result};
use std::{
    cmp::Reverse,
    pin::Pin,
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_stream::Stream;

/// Places beyond the turns: blobs that are asked about before their turn, or wait for their answer after it.
const WAITING: usize = 4;
/// Bytes of a blob so small that it takes longer to be answered than to be sent: it needs no turn.
const SMALL: u64 = 256 << 10;

/// Places and turns of uploads. Clones share them.
#[derive(Clone, Debug)]
pub struct Uploads {
    places: Arc<Semaphore>,
    turns: Arc<Semaphore>,
}

/// The right to work on one blob or manifest, until it is dropped.
#[derive(Debug)]
pub struct Place(#[expect(dead_code, reason = "held for what its drop gives back")] OwnedSemaphorePermit);

impl Uploads {
    /// The bytes of `turns` blobs at a time are sent; 0 is any number. A few more may wait for the registry.
    pub fn new(turns: usize) -> Self {
        let turns = if turns == 0 { Semaphore::MAX_PERMITS } else { turns.min(Semaphore::MAX_PERMITS) };
        let places = turns.saturating_add(WAITING).min(Semaphore::MAX_PERMITS);
        Self { places: Arc::new(Semaphore::new(places)), turns: Arc::new(Semaphore::new(turns)) }
    }

    /// The best order for blobs of these sizes in bytes: the small first, which only wait; then from the largest on,
    /// for the largest last would go alone in the end.
    pub fn order<T>(blobs: &mut [T], size: impl Fn(&T) -> u64) {
        blobs.sort_by_key(|blob| (size(blob) > SMALL, Reverse(size(blob))));
    }

    /// Waits for a place.
    ///
    /// # Errors
    /// `Cancelled` if there are none any more.
    pub async fn place(&self) -> Result<Place> {
        Arc::clone(&self.places).acquire_owned().await.map(Place).map_err(|_| stopped())
    }

    /// Waits until a blob of `size` bytes may be sent.
    pub(super) async fn turn(&self, size: u64) -> Result<Turn> {
        let permit = match size {
            ..=SMALL => None,
            _ => Some(Arc::clone(&self.turns).acquire_owned().await.map_err(|_| stopped())?),
        };
        Ok(Turn(Arc::new(Mutex::new(permit))))
    }
}

fn stopped() -> Error {
    Error::cancelled("pushing was stopped")
}

/// A turn. It is held twice, by the bytes and by who waits for the answer, and ends when the first of them lets go: the
/// HTTP client drops bytes once it has taken the last, but may keep those of a request that was answered or given up
/// before, for a peer that takes no more.
#[derive(Debug)]
pub(super) struct Turn(Arc<Mutex<Option<OwnedSemaphorePermit>>>);

impl Turn {
    /// `bytes`, to be sent in this turn.
    pub(super) fn of<S>(&self, bytes: S) -> Sending<S> {
        Sending { bytes, _turn: Self(Arc::clone(&self.0)) }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// Bytes that are sent in their turn.
#[derive(Debug)]
pub(super) struct Sending<S> {
    bytes: S,
    _turn: Turn,
}

impl<S: Stream + Unpin> Stream for Sending<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        Pin::new(&mut self.bytes).poll_next(context)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_small_go_first_then_the_largest() {
        let mut sizes = [3 << 20, 100, 9 << 20, SMALL, SMALL + 1];
        Uploads::order(&mut sizes, |size| *size);
        assert_eq!(sizes, [SMALL, 100, 9 << 20, 3 << 20, SMALL + 1]);
    }

    #[tokio::test]
    async fn turns_are_counted_and_the_small_need_none() {
        let uploads = Uploads::new(1);
        for bytes_first in [true, false] {
            let turn = uploads.turn(SMALL + 1).await.unwrap();
            let sending = turn.of(tokio_stream::empty::<()>());
            assert!(!has_permit(&uploads.turn(SMALL).await.unwrap()));
            assert_eq!(uploads.turns.available_permits(), 0);
            if bytes_first {
                drop(sending);
                assert_eq!(uploads.turns.available_permits(), 1);
                drop(turn);
            } else {
                drop(turn);
                assert_eq!(uploads.turns.available_permits(), 1);
                drop(sending);
            }
            assert_eq!(uploads.turns.available_permits(), 1);
        }
        assert!(has_permit(&Uploads::new(0).turn(SMALL + 1).await.unwrap()));
    }

    fn has_permit(turn: &Turn) -> bool {
        turn.0.lock().unwrap().is_some()
    }
}
