//! The tar format: V7, ustar, GNU and PAX (POSIX.1-2001) read as Go's `archive/tar` reads them; ustar and PAX written.
//!
//! Everything a header may make us keep is bounded by [`MAX_EXTENSION`].

mod header;
mod pax;
mod reader;
mod sparse;
mod writer;

pub(super) use reader::Reader;
pub(super) use writer::{Member, Writer};

/// Most bytes of one extension (a long name, a set of PAX records, a sparse map): 1 MiB, as in Go's `archive/tar`.
const MAX_EXTENSION: u64 = 1 << 20;

/// What a tar entry is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    File,
    Directory,
    Symlink,
    Hardlink,
    CharDevice,
    BlockDevice,
    Fifo,
}

/// A point in time; the epoch by default.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Time {
    pub(super) seconds: i64,
    pub(super) nanos: u32,
}

/// An extended attribute: its name with its namespace, and its value.
pub(super) type Xattr = (Vec<u8>, Vec<u8>);

/// A file, directory, … in a tar stream. Its data is read from the [`Reader`] that returned it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) kind: Kind,
    /// As the archive has it, not to be trusted.
    pub(super) path: Vec<u8>,
    /// Target of a link, as the archive has it.
    pub(super) link: Vec<u8>,
    /// Permissions, set-id bits and the sticky bit (07777).
    pub(super) mode: u32,
    pub(super) uid: u64,
    pub(super) gid: u64,
    pub(super) mtime: Time,
    pub(super) atime: Option<Time>,
    /// Size of the file in bytes.
    pub(super) size: u64,
    /// Major and minor number of a device.
    pub(super) device: (u64, u64),
    pub(super) xattrs: Vec<Xattr>,
    /// If the data in the stream is only the allocated parts of the file: offset and length of each, in order.
    pub(super) sparse: Option<Vec<(u64, u64)>>,
}
