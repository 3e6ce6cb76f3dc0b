//! What long verbs tell their caller while they work.

use model::Digest;

/// Something happened.
#[derive(Clone, Debug)]
pub enum Event<'a> {
    /// A blob of so many bytes is about to be stored.
    Blob(&'a Digest, u64),
    /// So many more bytes of it are on their way.
    Sent(&'a Digest, u64),
    /// It is stored.
    Stored(&'a Digest),
    /// A layer is being unpacked.
    Unpacking(&'a Digest),
    /// It is a snapshot now.
    Unpacked(&'a Digest),
}

/// Told of every event. It must not block.
pub trait Progress: Send + Sync {
    /// `event` happened.
    fn on(&self, event: Event<'_>);
}

/// Nobody is told.
#[derive(Clone, Copy, Debug)]
pub struct Silent;

impl Progress for Silent {
    fn on(&self, _: Event<'_>) {}
}
