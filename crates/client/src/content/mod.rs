//! Whole blobs, in and out of the content store.

mod read;
mod source;
mod write;

pub(crate) use read::check_document_size;
pub use read::{Blob, MAX_DOCUMENT};
pub use source::Chunks;
pub(crate) use source::{CHUNK, fill};
pub use write::{Expect, Written};
