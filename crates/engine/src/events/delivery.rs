//! When an event has left for the clients that hear it. Only then is it acknowledged to its shim: killed before that, we
//! would take it along, as it is stored nowhere else.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time};

/// How long a client is waited for. One that does not read is not waited for again before it has caught up.
const PATIENCE: Duration = Duration::from_millis(250);

/// How far one client is, as a number of events since it subscribed.
#[derive(Clone, Debug, Default)]
pub struct Receipt(Arc<Progress>);

#[derive(Debug, Default)]
struct Progress {
    left: watch::Sender<u64>,
    is_late: AtomicBool,
}

impl Receipt {
    /// The first `count` events have left for the client.
    pub fn left(&self, count: u64) {
        self.0.left.send_if_modified(|left| std::mem::replace(left, count.max(*left)) < count);
    }

    /// The client is gone.
    pub(super) fn close(&self) {
        self.left(u64::MAX);
    }

    /// What to wait for after the event of this number, counted from 1.
    pub(super) fn awaits(&self, number: u64) -> Option<Awaited> {
        let left = *self.0.left.borrow();
        if left.saturating_add(1) >= number {
            self.0.is_late.store(false, Ordering::Relaxed);
        }
        let is_waited_for = left < number && !self.0.is_late.load(Ordering::Relaxed);
        is_waited_for.then(|| Awaited { receipt: self.clone(), number })
    }
}

/// An event under way to a client.
#[derive(Debug)]
pub(super) struct Awaited {
    receipt: Receipt,
    number: u64,
}

/// Waits until all of them have left.
pub(super) async fn delivered(events: Vec<Awaited>) {
    let deadline = time::Instant::now() + PATIENCE;
    for Awaited { receipt, number } in events {
        let mut left = receipt.0.left.subscribe();
        if time::timeout_at(deadline, left.wait_for(|&left| left >= number)).await.is_err() {
            tracing::debug!("a client does not read its events and is not waited for");
            receipt.0.is_late.store(true, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_client_is_waited_for_until_the_event_has_left() {
        let receipt = Receipt::default();
        let waiting = tokio::spawn(delivered(receipt.awaits(1).into_iter().collect()));
        receipt.left(1);
        waiting.await.unwrap();
        assert!(receipt.awaits(1).is_none());
        assert!(receipt.awaits(2).is_some(), "it was not late");
        receipt.close();
        assert!(receipt.awaits(3).is_none());
    }

    #[tokio::test]
    async fn one_that_does_not_read_is_waited_for_once() {
        let receipt = Receipt::default();
        delivered(receipt.awaits(1).into_iter().collect()).await;
        assert!(receipt.awaits(2).is_none());
        receipt.left(2);
        assert!(receipt.awaits(3).is_some(), "it has caught up");
    }
}
