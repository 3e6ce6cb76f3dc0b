//! Where the store tells what it did.

use model::{Event, Namespace};

/// Takes the store's events, in the order in which they were committed and only after their commit.
///
/// Called on the committing thread, so it must not block, and must not write to the store.
pub trait EventSink: Send + Sync {
    /// Takes one event of an object in `namespace`.
    fn publish(&self, namespace: &Namespace, event: Event);
}

/// Drops every event.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoEvents;

impl EventSink for NoEvents {
    fn publish(&self, _namespace: &Namespace, _event: Event) {}
}
