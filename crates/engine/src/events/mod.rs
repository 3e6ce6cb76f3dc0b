//! Events: who publishes, who hears, and what a filter can see of them.
//!
//! Nothing is stored: a subscriber hears what is published from the moment it subscribed.

mod exchange;
mod subscription;
mod topic;
mod wire;

pub use exchange::Exchange;
pub use subscription::Subscription;
