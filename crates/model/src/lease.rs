//! Leases: what keeps objects from being collected.

use crate::{Error, Labels, Result, Timestamp};

/// A lease's metadata.
#[derive(Clone, Debug, PartialEq)]
pub struct Lease {
    /// Unique in its namespace.
    pub id: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// Free labels; `containerd.io/gc.expire` and `containerd.io/gc.flat` have meaning.
    pub labels: Labels,
}

/// Something a lease holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Resource {
    /// A blob by digest.
    Content(String),
    /// An ingest by reference.
    Ingest(String),
    /// An image by name.
    Image(String),
    /// A snapshot by snapshotter and key.
    Snapshot(String, String),
}

impl Resource {
    /// From the wire's `type` and `id`.
    pub fn parse(kind: &str, id: &str) -> Result<Self> {
        if id.is_empty() {
            return Err(Error::invalid_argument(format!("resource of type {kind:?} has no id")));
        }
        match kind.split_once('/') {
            None if kind == "content" => Ok(Self::Content(id.to_owned())),
            None if kind == "ingests" => Ok(Self::Ingest(id.to_owned())),
            None if kind == "images" => Ok(Self::Image(id.to_owned())),
            Some(("snapshots", snapshotter)) if !snapshotter.is_empty() && !snapshotter.contains('/') => {
                Ok(Self::Snapshot(snapshotter.to_owned(), id.to_owned()))
            }
            _ => Err(Error::unimplemented(format!("resource type {kind:?}"))),
        }
    }

    /// The wire's `type`.
    pub fn kind(&self) -> String {
        match self {
            Self::Content(_) => "content".into(),
            Self::Ingest(_) => "ingests".into(),
            Self::Image(_) => "images".into(),
            Self::Snapshot(snapshotter, _) => format!("snapshots/{snapshotter}"),
        }
    }

    /// The wire's `id`.
    pub fn id(&self) -> &str {
        match self {
            Self::Content(id) | Self::Ingest(id) | Self::Image(id) | Self::Snapshot(_, id) => id,
        }
    }
}
