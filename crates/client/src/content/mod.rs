//! Whole blobs, in and out of the content store.

mod folder;
mod read;
mod source;
mod write;

pub use folder::Folder;
pub use read::Blob;
pub use source::Chunks;
pub(crate) use source::{CHUNK, fill};
pub use write::{Expect, Written};
