//! Events: who publishes, who hears, and what a filter can see of them.
//!
//! Nothing is stored: a subscriber hears what is published from the moment it subscribed.

mod audience;
mod delivery;
mod exchange;
mod overtaken;
mod repeats;
mod server;
mod subscription;
mod topic;

pub use delivery::Receipt;
pub use exchange::Exchange;
pub(crate) use server::listen;
pub use subscription::Subscription;
