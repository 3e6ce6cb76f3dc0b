//! Ingests: blobs on their way in, resumable until committed, aborted or expired.

use crate::Store;
use model::{Digest, Error, Filter, IngestStatus, Labels, Result, Scope};

/// What an ingest is opened with.
#[derive(Clone, Debug, Default)]
pub struct WriterOptions {
    /// The client's name for it, unique in its namespace.
    pub reference: String,
    /// Size expected in bytes, or 0 if unknown.
    pub total: u64,
    /// The digest expected. A blob that is there already is `AlreadyExists`, and added to the lease.
    pub expected: Option<Digest>,
    /// For the event only.
    pub media_type: String,
}

/// An ingest open for writing: its reference is locked until this is dropped. Dropping it without
/// [`commit`](Self::commit) or [`abort`](Self::abort) leaves the ingest resumable.
#[derive(Debug)]
pub struct ContentWriter {
    status: IngestStatus,
}

impl ContentWriter {
    /// Where it stands. The offset may be the total at once: the blob is known from another namespace
    /// and need only be committed.
    pub fn status(&self) -> IngestStatus {
        self.status.clone()
    }

    /// Digest of what was written so far.
    pub fn digest(&self) -> Result<Digest> {
        Err(Error::unimplemented("pending"))
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let _ = bytes;
        Err(Error::unimplemented("pending"))
    }

    /// Throws away what was written, to begin anew.
    pub fn truncate(&mut self) -> Result<()> {
        Err(Error::unimplemented("pending"))
    }

    /// Makes it a blob. `size` (0: any) and `expected` are checked (`FailedPrecondition`), then it is made
    /// durable and recorded with `labels`. A blob that exists already is `AlreadyExists`, which ends the
    /// ingest too and adds the blob to the lease.
    pub fn commit(self, size: u64, expected: Option<&Digest>, labels: Labels) -> Result<Digest> {
        let _ = (size, expected, labels);
        Err(Error::unimplemented("pending"))
    }

    /// Gives it up and removes what was written.
    pub fn abort(self) -> Result<()> {
        Err(Error::unimplemented("pending"))
    }
}

impl Store {
    /// Opens or resumes an ingest. A reference open elsewhere is `Unavailable`.
    pub fn open_writer(&self, scope: &Scope, options: WriterOptions) -> Result<ContentWriter> {
        let _ = (scope, options);
        Err(Error::unimplemented("pending"))
    }

    /// Where the ingest `reference` stands.
    pub fn ingest_status(&self, scope: &Scope, reference: &str) -> Result<IngestStatus> {
        let _ = (scope, reference);
        Err(Error::unimplemented("pending"))
    }

    /// The ingests that match.
    pub fn list_ingests(&self, scope: &Scope, filter: &Filter) -> Result<Vec<IngestStatus>> {
        let _ = (scope, filter);
        Err(Error::unimplemented("pending"))
    }

    /// Gives an ingest up and removes what was written.
    pub fn abort_ingest(&self, scope: &Scope, reference: &str) -> Result<()> {
        let _ = (scope, reference);
        Err(Error::unimplemented("pending"))
    }
}
