//! One reader's queue: bounded, so that a reader who stopped reading costs a known amount.

use super::{audience::Seat, delivery::Receipt};
use model::{Envelope, Error, Result};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// Most events that wait for one reader. A burst of 1,000 containers is under 10,000 events.
const MAX_EVENTS: usize = 65_536;
/// Most bytes of events that wait for one reader.
const MAX_BYTES: usize = 16 << 20;

/// The shared end of a subscription: the exchange pushes, the subscriber pops.
#[derive(Debug, Default)]
pub(super) struct Queue {
    state: Mutex<State>,
    ready: Notify,
    pub(super) receipt: Receipt,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<Arc<Envelope>>,
    bytes: usize,
    /// How many have been added since the reader subscribed.
    added: u64,
    /// Set once the reader was given up; it reads the reason after what still waits is dropped.
    overrun: Option<usize>,
    closed: bool,
}

impl Queue {
    /// Adds an event, and gives its number; `None` once the queue will take no more.
    pub(super) fn push(&self, envelope: &Arc<Envelope>) -> Option<u64> {
        let mut state = self.lock();
        if state.closed || state.overrun.is_some() {
            return None;
        }
        state.added += 1;
        state.bytes += size(envelope);
        state.waiting.push_back(Arc::clone(envelope));
        if state.waiting.len() > MAX_EVENTS || state.bytes > MAX_BYTES {
            state.overrun = Some(state.waiting.len());
            state.waiting = VecDeque::new();
            state.bytes = 0;
        }
        let number = state.overrun.is_none().then_some(state.added);
        drop(state);
        self.ready.notify_one();
        number
    }

    /// Whether somebody reads it.
    pub(super) fn is_open(&self) -> bool {
        let state = self.lock();
        !state.closed && state.overrun.is_none()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A queue is whole between statements, so a panicked holder left nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What an envelope takes in memory, about.
fn size(envelope: &Envelope) -> usize {
    let event = envelope.event.type_url.len() + envelope.event.value.len();
    size_of::<Envelope>() + envelope.namespace.as_str().len() + envelope.topic.len() + event
}

/// A stream of events. Dropping it unsubscribes.
#[derive(Debug)]
pub struct Subscription {
    pub(super) queue: Arc<Queue>,
    /// A client's, for which the next daemon waits.
    pub(super) seat: Option<Seat>,
}

impl Subscription {
    /// The next event. A reader who fell hopelessly behind gets `ResourceExhausted` from then on.
    pub async fn next(&mut self) -> Result<Arc<Envelope>> {
        loop {
            // `notify_one` keeps a permit, so an event pushed before this await is not missed.
            if let Some(next) = self.try_next() {
                return next;
            }
            self.queue.ready.notified().await;
        }
    }

    /// Where a client's subscription is told how far its events have got.
    pub fn receipt(&self) -> Receipt {
        self.queue.receipt.clone()
    }

    /// The next event, if one is waiting.
    pub fn try_next(&mut self) -> Option<Result<Arc<Envelope>>> {
        let mut state = self.queue.lock();
        if let Some(missed) = state.overrun {
            return Some(Err(Error::resource_exhausted(format!(
                "event subscriber fell {missed} events behind and was disconnected"
            ))));
        }
        let envelope = state.waiting.pop_front()?;
        state.bytes -= size(&envelope);
        if state.waiting.is_empty() && state.waiting.capacity() > 64 {
            state.waiting = VecDeque::new(); // give a burst's memory back
        }
        Some(Ok(envelope))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        let mut state = self.queue.lock();
        state.closed = true;
        state.waiting = VecDeque::new();
        state.bytes = 0;
        drop(state);
        self.queue.receipt.close();
        drop(self.seat.take());
    }
}
