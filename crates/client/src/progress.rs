//! What long verbs tell their caller while they work.

use crate::oci::Descriptor;
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
    /// What the daemon does as a whole, in its own words.
    Status(&'a str),
    /// How far the daemon is with one thing.
    Item(Item<'a>),
}

/// One thing that the daemon transfers: an image, a document, a layer.
#[derive(Clone, Copy, Debug)]
pub struct Item<'a> {
    /// The daemon's name for it (`layer-sha256:…`).
    pub name: &'a str,
    /// What happens to it, in the daemon's words (`waiting`, `downloading`, `extracting`, `complete`, …).
    pub phase: &'a str,
    /// Bytes done in this phase.
    pub done: u64,
    /// Bytes there are; 0 if nobody knows.
    pub total: u64,
    /// What it is.
    pub descriptor: Option<&'a Descriptor>,
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
