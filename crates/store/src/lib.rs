//! Everything below containerd's `root`: records in one private database, content and snapshots on disk,
//! layers, and the garbage collector. Synchronous; it knows neither a wire format nor an async runtime.
//!
//! One file for each noun of the API, one method of [`Store`] for each verb. Each request is one
//! transaction: the object, its place in the caller's lease and the event are committed together.

mod blobs;
mod claims;
mod containers;
pub mod content;
mod db;
mod events;
mod gc;
mod images;
mod ingests;
pub mod layers;
mod leases;
mod mask;
mod namespaces;
mod sandboxes;
pub mod snapshot;
mod snapshots;
mod store;

pub use events::{EventSink, NoEvents};
pub use gc::{GcConfig, GcStats};
pub use ingests::{ContentWriter, WriterOptions};
pub use store::{Sharing, Store, StoreConfig};
