//! The vocabulary every other crate speaks: names, records, filters and errors.
//!
//! Pure: no I/O, no async, no unsafe. Nothing here knows a wire format or a disk layout.

mod any;
mod container;
mod content;
mod digest;
mod error;
mod event;
mod field_mask;
pub mod filter;
mod image;
mod labels;
mod lease;
mod mount;
mod name;
mod namespace;
mod sandbox;
mod scope;
mod snapshot;
mod timestamp;

pub use any::Any;
pub use container::{Container, Runtime};
pub use content::{BlobInfo, IngestStatus};
pub use digest::{Algorithm, Digest};
pub use error::{Error, Kind, Result};
pub use event::{Envelope, Event, TaskCreate, TaskIo};
pub use field_mask::FieldMask;
pub use filter::Filter;
pub use image::{Descriptor, Image};
pub use labels::{Labels, validate_label, validate_labels};
pub use lease::{Lease, Resource};
pub use mount::Mount;
pub use name::validate_identifier;
pub use namespace::{Namespace, NamespaceInfo};
pub use sandbox::Sandbox;
pub use scope::Scope;
pub use snapshot::{SnapshotInfo, SnapshotKind, Usage};
pub use timestamp::Timestamp;
