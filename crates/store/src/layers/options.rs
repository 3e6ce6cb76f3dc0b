//! What callers of [`apply`](super::apply) and [`diff`](super::diff) may choose, and what they get back.

use model::{Any, Digest, Timestamp};
use std::{collections::BTreeMap, ffi::OsString, path::PathBuf, sync::Arc};

/// How to unpack a layer. The default unpacks with the owners and modes the layer says and verifies nothing.
#[derive(Clone, Debug, Default)]
pub struct ApplyOptions {
    /// Refuse (FailedPrecondition) a stream whose bytes, as read, have another digest or size.
    pub expected: Option<(Digest, u64)>,
    /// Refuse (FailedPrecondition) a layer whose uncompressed bytes have another digest.
    pub expected_diff_id: Option<Digest>,
    /// syncfs(2) the target's file system before returning.
    pub sync_fs: bool,
    /// Programs that turn other media types into layers; the first that accepts one is used.
    pub processors: Arc<[StreamProcessor]>,
    /// Messages for the processors, by processor id.
    pub payloads: BTreeMap<String, Any>,
    /// Owners on disk, where they are not those of the layer.
    pub id_map: Option<IdMap>,
}

/// How to write a layer.
#[derive(Clone, Debug, Default)]
pub struct DiffOptions {
    /// No modification time in the layer is later (<https://reproducible-builds.org/specs/source-date-epoch/>).
    pub source_date_epoch: Option<Timestamp>,
}

/// What [`apply`](super::apply) read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Applied {
    /// Digest of the uncompressed layer.
    pub diff_id: Digest,
    /// Size of the uncompressed layer in bytes.
    pub size: u64,
}

/// What [`diff`](super::diff) wrote.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Media type of what was written.
    pub media_type: String,
    /// Digest of the bytes written.
    pub digest: Digest,
    /// Number of bytes written.
    pub size: u64,
    /// Digest of the layer before compression.
    pub diff_id: Digest,
}

/// A program that turns a stream of one media type into another (`[stream_processors]` of the configuration).
///
/// It reads the stream on stdin and writes the result to stdout; `STREAM_PROCESSOR_MEDIATYPE` says what it gets, and
/// file descriptor 3 carries its payload, a protobuf `Any`, if the request has one for `id`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamProcessor {
    /// Name under which requests send payloads.
    pub id: String,
    /// Media types it takes.
    pub accepts: Vec<String>,
    /// The media type it writes.
    pub returns: String,
    /// The program: a path, or a name looked up in `PATH`.
    pub path: PathBuf,
    /// Its arguments.
    pub args: Vec<OsString>,
    /// `KEY=value` added to the daemon's environment.
    pub env: Vec<String>,
}

/// A run of consecutive ids of a user namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdRange {
    /// First id as the layer has it.
    pub container: u32,
    /// First id as the disk has it.
    pub host: u32,
    /// How many.
    pub size: u32,
}

impl IdRange {
    /// What the disk has for the layer's `id`, if that is in the range.
    pub(super) fn on_disk(self, id: u32) -> Option<u32> {
        let offset = id.checked_sub(self.container).filter(|offset| *offset < self.size)?;
        self.host.checked_add(offset)
    }
}

/// Owners of a user namespace, as uid_map(5) has them. No range at all maps every id to itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IdMap {
    /// User ids.
    pub users: Vec<IdRange>,
    /// Group ids.
    pub groups: Vec<IdRange>,
}
