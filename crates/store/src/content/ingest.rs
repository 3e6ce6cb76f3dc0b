//! Writing one ingest: the only way a blob comes to be.

use super::{Blobs, Hasher, lock, record::Record};
use model::{Algorithm, Digest, Error, IngestStatus, Result, Timestamp};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt as _, FileExt as _, PermissionsExt as _},
    path::Path,
    time::SystemTime,
};

/// What [`Ingest::commit`] made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The blob's name.
    pub digest: Digest,
    /// In bytes.
    pub size: u64,
}

/// An ingest open for writing. Dropped without a commit, it can be resumed.
#[derive(Debug)]
pub struct Ingest {
    blobs: Blobs,
    lock: RefLock,
    record: Record,
    data: File,
    hasher: Hasher,
    offset: u64,
    total: u64,
    started_at: Timestamp,
    updated_at: Timestamp,
    /// Whether bytes were written that [`Drop`] has to make resumable.
    dirty: bool,
}

impl Ingest {
    pub(super) fn open(blobs: &Blobs, reference: &str, total: u64, expected: Option<&Digest>) -> Result<Self> {
        if reference.is_empty() {
            return Err(Error::invalid_argument("ingest ref must not be empty"));
        }
        let lock = RefLock::acquire(blobs, reference)?;
        if let Some(digest) = expected
            && blobs.blob_path(digest).exists()
        {
            return Err(Error::already_exists(format!("content {digest}")));
        }
        let record = Record::of(&blobs.ingests_dir(), reference);
        let hasher = Hasher::new(expected.map_or(Algorithm::Sha256, Digest::algorithm));
        let made = DirBuilder::new().mode(0o755).create(record.dir());
        let opened = match made {
            Ok(()) => Self::begin(blobs, &record, reference, total),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                match Self::resume(&record, hasher.clone(), total) {
                    Ok((data, hasher, status)) => {
                        return Ok(Self {
                            blobs: blobs.clone(),
                            lock,
                            record,
                            data,
                            hasher,
                            offset: status.offset,
                            total: status.total,
                            started_at: status.started_at,
                            updated_at: status.updated_at,
                            dirty: false,
                        });
                    }
                    Err(error) => {
                        tracing::info!(reference, %error, "beginning anew an ingest that cannot be resumed");
                        Self::begin(blobs, &record, reference, total)
                    }
                }
            }
            Err(error) => Err(error),
        };
        let (data, started_at) = opened.map_err(|error| Error::io(format!("begin ingest {reference:?}"), error))?;
        let blobs = blobs.clone();
        let updated_at = started_at;
        Ok(Self { blobs, lock, record, data, hasher, offset: 0, total, started_at, updated_at, dirty: false })
    }

    /// Begins in the directory of `record`, whatever is in it; on failure nothing is left.
    fn begin(_blobs: &Blobs, record: &Record, reference: &str, total: u64) -> io::Result<(File, Timestamp)> {
        let started_at = Timestamp::now();
        let begun = record.begin(reference, total, started_at).and_then(|()| File::create(record.data()));
        if begun.is_err() {
            // The first error counts; what cannot be removed now is swept at the next start.
            let _ = record.remove();
        }
        Ok((begun?, started_at))
    }

    /// Reads what is there, since a running hash cannot be kept on disk.
    fn resume(record: &Record, mut hasher: Hasher, total: u64) -> io::Result<(File, Hasher, IngestStatus)> {
        let mut status = record.status()?;
        if total > 0 && status.total > 0 && total != status.total {
            let text = format!("the size expected was {} bytes and is {total} now", status.total);
            return Err(io::Error::new(io::ErrorKind::InvalidData, text));
        }
        let data = File::options().read(true).write(true).open(record.data())?;
        status.offset = hasher.update_from(&data)?;
        Ok((data, hasher, status))
    }

    /// How far it is.
    pub fn status(&self) -> IngestStatus {
        IngestStatus {
            reference: self.lock.reference.clone(),
            offset: self.offset,
            total: self.total,
            expected: None,
            started_at: self.started_at,
            updated_at: self.updated_at,
        }
    }

    /// Bytes written so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Result<Digest> {
        self.hasher.digest()
    }

    /// Writes `data` at the end.
    ///
    /// # Errors
    /// `ResourceExhausted` on a full disk; then none of `data` counts as written, and the ingest can go on.
    pub fn append(&mut self, data: &[u8]) -> Result<()> {
        self.dirty = true;
        if let Err(error) = self.data.write_all_at(data, self.offset) {
            // What did get written must not be found when the ingest is resumed.
            let _ = self.data.set_len(self.offset);
            return Err(Error::io(format!("write ingest {:?} at {}", self.lock.reference, self.offset), error));
        }
        self.hasher.update(data);
        self.offset += data.len() as u64;
        self.updated_at = Timestamp::now();
        Ok(())
    }

    /// Throws away what was written.
    pub fn truncate(&mut self) -> Result<()> {
        let cut = self.data.set_len(0);
        cut.map_err(|error| Error::io(format!("truncate ingest {:?}", self.lock.reference), error))?;
        self.dirty = true;
        self.hasher = Hasher::new(self.hasher.algorithm());
        self.offset = 0;
        self.updated_at = Timestamp::now();
        Ok(())
    }

    /// Turns what was written into a blob, durable when this returns. That there is such a blob already is
    /// no error: the ingest is done either way.
    ///
    /// # Errors
    /// `FailedPrecondition` if the size is not `size` (0: any) or the digest not `expected`; the ingest can
    /// then be resumed, as after any other error.
    pub fn commit(mut self, size: u64, expected: Option<&Digest>) -> Result<Committed> {
        if size > 0 && size != self.offset {
            let (reference, offset) = (&self.lock.reference, self.offset);
            return Err(Error::failed_precondition(format!(
                "ingest {reference:?}: unexpected commit size {offset}, expected {size}"
            )));
        }
        let digest = self.digest_as(expected.map(Digest::algorithm))?;
        if let Some(expected) = expected
            && *expected != digest
        {
            let reference = &self.lock.reference;
            return Err(Error::failed_precondition(format!(
                "ingest {reference:?}: unexpected commit digest {digest}, expected {expected}"
            )));
        }
        let sync = self.blobs.algorithm_sync(digest.algorithm())?;
        let target = self.blobs.blob_path(&digest);
        let committed = self.seal().and_then(|()| publish(&self.record.data(), &target)).and_then(|()| sync.sync());
        committed.map_err(|error| Error::io(format!("commit ingest {:?} as {digest}", self.lock.reference), error))?;
        self.dirty = false;
        if let Err(error) = self.record.remove() {
            tracing::warn!(path = %self.record.dir().display(), %error, "cannot remove a committed ingest");
        }
        Ok(Committed { digest, size: self.offset })
    }

    /// The digest in `algorithm`; the data is read again if it was hashed in another.
    fn digest_as(&self, algorithm: Option<Algorithm>) -> Result<Digest> {
        match algorithm {
            Some(algorithm) if algorithm != self.hasher.algorithm() => {
                let mut hasher = Hasher::new(algorithm);
                let read = File::open(self.record.data()).and_then(|data| hasher.update_from(data));
                read.map_err(|error| Error::io(format!("read ingest {:?} again", self.lock.reference), error))?;
                hasher.digest()
            }
            _ => self.hasher.digest(),
        }
    }

    /// Makes the data and its final attributes durable.
    fn seal(&self) -> io::Result<()> {
        self.data.set_permissions(Permissions::from_mode(0o444))?;
        self.data.set_modified(SystemTime::now())?;
        self.data.sync_all()
    }
}

impl Drop for Ingest {
    /// Leaves it to be resumed, after a power cut too. Nobody is left to tell of an error; what is lost
    /// shows in the size when it is resumed.
    fn drop(&mut self) {
        if self.dirty {
            let _ = self.data.sync_all();
            let _ = self.record.touch(self.updated_at);
        }
    }
}

/// Gives `data` its final name, unless something has it.
fn publish(data: &Path, target: &Path) -> io::Result<()> {
    match renameat_with(CWD, data, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) | Err(Errno::EXIST) => Ok(()),
        // Not every file system can refuse to replace; the same bytes take the place of the same bytes.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(data, target),
        Err(errno) => Err(errno.into()),
    }
}

/// The right to write an ingest, one holder at a time.
#[derive(Debug)]
struct RefLock {
    blobs: Blobs,
    reference: String,
}

impl RefLock {
    fn acquire(blobs: &Blobs, reference: &str) -> Result<Self> {
        let mut writing = lock(&blobs.0.writing);
        if let Some(since) = writing.get(reference) {
            return Err(Error::unavailable(format!("ref {reference} locked since {}", since.to_rfc3339())));
        }
        writing.insert(reference.to_owned(), Timestamp::now());
        Ok(Self { blobs: blobs.clone(), reference: reference.to_owned() })
    }
}

impl Drop for RefLock {
    fn drop(&mut self) {
        lock(&self.blobs.0.writing).remove(&self.reference);
    }
}
