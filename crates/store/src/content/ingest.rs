//! Writing one ingest: the only way a blob comes to be.

use super::{
    Blobs, Hasher,
    data::{Data, beginning},
    record::Record,
    writers::RefLock,
};
use model::{Algorithm, Digest, Error, IngestStatus, Result, Timestamp};
use rustix::{
    fs::{CWD, RenameFlags, renameat_with},
    io::Errno,
};
use std::{
    fs,
    io::{self, ErrorKind},
    path::Path,
    sync::Arc,
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
    lock: Arc<RefLock>,
    data: Data,
    hasher: Hasher,
    status: IngestStatus,
    /// Whether the disk already has all that is needed to resume.
    settled: bool,
}

impl Ingest {
    pub(super) fn open(blobs: &Blobs, reference: &str, total: u64, expected: Option<&Digest>) -> Result<Self> {
        if reference.is_empty() {
            return Err(Error::invalid_argument("ingest ref must not be empty"));
        }
        let lock = blobs.lock(reference)?;
        if let Some(digest) = expected
            && blobs.blob_path(digest).exists()
        {
            return Err(Error::already_exists(format!("content {digest}")));
        }
        let algorithm = expected.map_or(Algorithm::Sha256, Digest::algorithm);
        let failed = |error| Error::io(format!("begin ingest {reference:?}"), error);
        let record = Record::of(&blobs.ingests_dir(), reference);
        let blobs = blobs.clone();
        match Data::resume(record, Hasher::new(algorithm), total) {
            Ok((data, hasher, status)) => Ok(Self { blobs, lock, data, hasher, status, settled: true }),
            Err(error) => {
                let record = Record::of(&blobs.ingests_dir(), reference);
                if record.dir().exists() {
                    tracing::info!(reference, %error, "beginning anew an ingest that cannot be resumed");
                    record.remove().map_err(failed)?;
                }
                let status = beginning(reference, total);
                lock.show(Some(status.clone()));
                let (data, hasher) = (Data::Staged(Vec::new()), Hasher::new(algorithm));
                Ok(Self { blobs, lock, data, hasher, status, settled: false })
            }
        }
    }

    /// How far it is.
    pub fn status(&self) -> IngestStatus {
        self.status.clone()
    }

    /// Bytes written so far.
    pub fn offset(&self) -> u64 {
        self.status.offset
    }

    /// The digest of what was written so far.
    pub fn digest(&self) -> Result<Digest> {
        self.hasher.digest()
    }

    /// Its lock, to be held beyond its end, until nobody can find its record any more.
    pub(crate) fn lock(&self) -> Arc<RefLock> {
        Arc::clone(&self.lock)
    }

    /// Whether it is in memory, and `more` bytes would be too many for that.
    pub fn outgrows_memory(&self, more: usize) -> bool {
        self.data.outgrows_memory(more)
    }

    /// Another descriptor of the file that is being written, once there is one.
    pub fn file(&self) -> Result<Option<fs::File>> {
        let file = self.data.file();
        file.map_err(|error| Error::io(format!("open ingest {:?} for reading", self.status.reference), error))
    }

    /// Writes `bytes` at the end.
    ///
    /// # Errors
    /// `NotFound` if it was aborted. On a full disk none of `bytes` counts as written, and the ingest can go on.
    pub fn append(&mut self, bytes: &[u8]) -> Result<()> {
        self.lock.check()?;
        self.settled = false;
        let appended = self.data.append(bytes, &self.status, &self.blobs.ingests_dir());
        appended.map_err(|error| {
            let IngestStatus { reference, offset, .. } = &self.status;
            Error::io(format!("write ingest {reference:?} at {offset}"), error)
        })?;
        self.hasher.update(bytes);
        self.moved_to(self.status.offset + bytes.len() as u64);
        Ok(())
    }

    /// Throws away what was written.
    pub fn truncate(&mut self) -> Result<()> {
        self.lock.check()?;
        let cut = self.data.truncate();
        cut.map_err(|error| Error::io(format!("truncate ingest {:?}", self.status.reference), error))?;
        self.settled = false;
        self.hasher = Hasher::new(self.hasher.algorithm());
        self.moved_to(0);
        Ok(())
    }

    fn moved_to(&mut self, offset: u64) {
        (self.status.offset, self.status.updated_at) = (offset, Timestamp::now());
        self.lock.show(self.data.is_staged().then(|| self.status.clone()));
    }

    /// Turns what was written into a blob, durable when this returns. That there is such a blob already is
    /// no error: the ingest is done either way.
    ///
    /// # Errors
    /// `FailedPrecondition` if the size is not `size` (0: any) or the digest not `expected`; the ingest can
    /// then be resumed, as after any other error. `NotFound` if it was aborted.
    pub fn commit(mut self, size: u64, expected: Option<&Digest>) -> Result<Committed> {
        self.lock.check()?;
        let IngestStatus { reference, offset, .. } = self.status.clone();
        if size > 0 && size != offset {
            let text = format!("ingest {reference:?}: unexpected commit size {offset}, expected {size}");
            return Err(Error::failed_precondition(text));
        }
        let digest = self.digest_as(expected.map(Digest::algorithm))?;
        if let Some(expected) = expected
            && *expected != digest
        {
            let text = format!("ingest {reference:?}: unexpected commit digest {digest}, expected {expected}");
            return Err(Error::failed_precondition(text));
        }
        let sync = self.blobs.algorithm_sync(digest.algorithm())?;
        let committed = self.publish(&self.blobs.blob_path(&digest)).and_then(|()| sync.sync());
        committed.map_err(|error| Error::io(format!("commit ingest {reference:?} as {digest}"), error))?;
        self.settled = true;
        if let Err(error) = self.data.remove() {
            tracing::warn!(reference, %error, "cannot remove a committed ingest");
        }
        Ok(Committed { digest, size: offset })
    }

    /// The digest in `algorithm`; the data is read again if it was hashed in another.
    fn digest_as(&self, algorithm: Option<Algorithm>) -> Result<Digest> {
        match algorithm {
            Some(algorithm) if algorithm != self.hasher.algorithm() => {
                let mut hasher = Hasher::new(algorithm);
                let read = self.data.hash(&mut hasher);
                read.map_err(|error| Error::io(format!("read ingest {:?} again", self.status.reference), error))?;
                hasher.digest()
            }
            _ => self.hasher.digest(),
        }
    }

    /// Makes the data durable under its final name.
    fn publish(&self, target: &Path) -> io::Result<()> {
        match &self.data {
            Data::Kept(record, _) => {
                self.data.seal(&record.data())?;
                place(&record.data(), target).map(drop)
            }
            Data::Staged(_) => {
                let staging = self.blobs.staging_path();
                let placed = self.data.seal(&staging).and_then(|()| place(&staging, target));
                if !matches!(placed, Ok(true)) {
                    // The first error counts; the next start sweeps.
                    let _ = fs::remove_file(&staging);
                }
                placed.map(drop)
            }
        }
    }
}

impl Drop for Ingest {
    /// Leaves it to be resumed. Nobody is left to tell of an error; what is lost shows in the size when it
    /// is resumed.
    fn drop(&mut self) {
        let left = if self.lock.is_aborted() {
            self.data.remove()
        } else if self.settled {
            Ok(())
        } else {
            self.data.leave(&self.status, &self.blobs.ingests_dir())
        };
        match left {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                tracing::warn!(reference = self.status.reference, %error, "an ingest cannot be left as it is");
            }
            _ => {}
        }
    }
}

/// Gives `data` its final name, unless something has it; says whether it did.
fn place(data: &Path, target: &Path) -> io::Result<bool> {
    match renameat_with(CWD, data, CWD, target, RenameFlags::NOREPLACE) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
        // Not every file system can refuse to replace; the same bytes take the place of the same bytes.
        Err(Errno::INVAL | Errno::NOSYS) => fs::rename(data, target).map(|()| true),
        Err(errno) => Err(errno.into()),
    }
}
