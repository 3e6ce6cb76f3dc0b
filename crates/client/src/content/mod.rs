//! Whole blobs, in and out of the content store.

mod read;
mod source;
mod write;

pub use read::{Blob, MAX_DOCUMENT};
pub use source::Chunks;
pub use write::{Expect, Written};
