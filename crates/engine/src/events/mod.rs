//! Events: who publishes, who hears, and what a filter can see of them.
//!
//! Nothing is stored: a subscriber hears what is published from the moment it subscribed.

mod exchange;
mod subscription;
mod topic;

pub use exchange::Exchange;
pub use subscription::Subscription;

use model::{Any, Timestamp};

/// An event on its way.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Envelope {
    /// When it was published.
    pub timestamp: Timestamp,
    /// The namespace it happened in.
    pub namespace: String,
    /// What happened: `/tasks/exit`.
    pub topic: String,
    /// The details (`containerd.events.TaskExit`).
    pub event: Option<Any>,
}
