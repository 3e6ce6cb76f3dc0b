//! Names of records in the one table.
//!
//! ```text
//! key       = kind, components           all records of one kind are neighbours, then of one namespace
//! component = length (2 bytes), text     the last component stands alone, so that it sorts as text
//!
//! 'V'                                    schema version (u64)
//! 'q'                                    highest sequence number reserved (u64)
//! 'n' namespace                          its labels
//! 'i' ns, name                           image
//! 'c' ns, id                             container
//! 'x' ns, id                             sandbox
//! 'l' ns, id                             lease
//! 'r' ns, lease, resource type, id       a resource of a lease; no value
//! 'b' ns, digest                         blob
//! 'g' ns, ref                            ingest
//! 's' ns, snapshotter, key               snapshot
//! 'h' ns, snapshotter, parent, child     a snapshot's child; no value
//! ```

use model::{Error, Result};

/// Longest text in a key, in bytes: as in bbolt.
const MAX: usize = 32_768;

/// The kinds of records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub(crate) enum Kind {
    Namespace = b'n',
    Image = b'i',
    Container = b'c',
    Sandbox = b'x',
    Lease = b'l',
    LeaseResource = b'r',
    Blob = b'b',
    Ingest = b'g',
    Snapshot = b's',
    SnapshotChild = b'h',
}

impl Kind {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Namespace,
            Self::Image,
            Self::Container,
            Self::Sandbox,
            Self::Lease,
            Self::LeaseResource,
            Self::Blob,
            Self::Ingest,
            Self::Snapshot,
            Self::SnapshotChild,
        ]
        .into_iter()
        .find(|kind| *kind as u8 == byte)
    }

    /// How many components come before the last.
    fn depth(self) -> usize {
        match self {
            Self::Namespace => 0,
            Self::Image | Self::Container | Self::Sandbox | Self::Lease | Self::Blob | Self::Ingest => 1,
            Self::Snapshot => 2,
            Self::LeaseResource | Self::SnapshotChild => 3,
        }
    }
}

/// A record's name, or a prefix of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(super) fn schema() -> Self {
        Self(vec![b'V'])
    }

    pub(super) fn sequence() -> Self {
        Self(vec![b'q'])
    }

    /// The record of `kind` with the components `path`, all of them.
    pub(crate) fn new(kind: Kind, path: &[&str]) -> Self {
        debug_assert_eq!(path.len(), kind.depth() + 1, "a record of kind {kind:?} has other components");
        match path.split_last() {
            Some((last, before)) => {
                let mut key = Self::prefix(kind, before);
                key.0.extend_from_slice(last.as_bytes());
                key
            }
            None => Self::prefix(kind, path),
        }
    }

    /// What the keys of all records of `kind` below `path` begin with.
    pub(crate) fn prefix(kind: Kind, path: &[&str]) -> Self {
        let mut bytes = vec![kind as u8];
        for component in path {
            // Longer ones are refused before they get here; a cut length would merely find nothing.
            let len = u16::try_from(component.len()).unwrap_or(u16::MAX);
            bytes.extend_from_slice(&len.to_be_bytes());
            bytes.extend_from_slice(component.as_bytes());
        }
        Self(bytes)
    }

    /// The kind and components of a stored key.
    pub(crate) fn parse(bytes: &[u8]) -> Result<(Kind, Vec<&str>)> {
        Self::try_parse(bytes).ok_or_else(|| Error::data_loss(format!("metadata: bad key {bytes:02x?}")))
    }

    fn try_parse(bytes: &[u8]) -> Option<(Kind, Vec<&str>)> {
        let (first, mut rest) = bytes.split_first()?;
        let kind = Kind::from_byte(*first)?;
        let mut path = Vec::with_capacity(kind.depth() + 1);
        for _ in 0..kind.depth() {
            let (len, after) = rest.split_first_chunk::<2>()?;
            let (component, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
            path.push(std::str::from_utf8(component).ok()?);
            rest = after;
        }
        path.push(std::str::from_utf8(rest).ok()?);
        Some((kind, path))
    }

    /// Refuses a name that cannot be a key's component: empty or longer than 32 KiB.
    pub(crate) fn check(what: &str, name: &str) -> Result<()> {
        if name.is_empty() {
            return Err(Error::invalid_argument(format!("{what} must not be empty")));
        }
        if name.len() > MAX {
            let shown: String = name.chars().take(64).collect();
            return Err(Error::invalid_argument(format!("{what} {shown:?}… has {} bytes, over {MAX}", name.len())));
        }
        Ok(())
    }
}

impl AsRef<[u8]> for Key {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Key {
    fn from(bytes: &[u8]) -> Self {
        Self(bytes.to_vec())
    }
}
