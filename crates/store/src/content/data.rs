//! Where an ingest's bytes are: in memory as long as they are few, then in the ingest's directory.
//!
//! Most blobs are small and are committed in the same breath. For them a directory with five files, made
//! only to be deleted, would cost more than the blob.

use super::{Hasher, record::Record};
use model::{IngestStatus, Timestamp};
use std::{
    fs::{DirBuilder, File, OpenOptions, Permissions},
    io::{self, ErrorKind, Write as _},
    os::unix::fs::{DirBuilderExt as _, FileExt as _, OpenOptionsExt as _, PermissionsExt as _},
    path::Path,
    time::SystemTime,
};

/// Bytes an ingest may have before it gets a directory. A killed process loses them; whoever sent them
/// finds the ingest absent and begins again.
const STAGED: usize = 64 << 10;

#[derive(Debug)]
pub(super) enum Data {
    /// Nothing is on disk.
    Staged(Vec<u8>),
    /// The ingest's directory, and the file `data` in it.
    Kept(Record, File),
}

impl Data {
    /// What the directory of `record` has, to go on with, and its hash; a running hash cannot be kept on disk.
    pub(super) fn resume(record: Record, mut hasher: Hasher, total: u64) -> io::Result<(Self, Hasher, IngestStatus)> {
        let mut status = record.status()?;
        if total > 0 && status.total > 0 && total != status.total {
            let text = format!("the size expected was {} bytes and is {total} now", status.total);
            return Err(io::Error::new(ErrorKind::InvalidData, text));
        }
        let file = File::options().read(true).write(true).open(record.data())?;
        status.offset = hasher.update_from(&file)?;
        Ok((Self::Kept(record, file), hasher, status))
    }

    /// Whether all of it is in memory.
    pub(super) fn is_staged(&self) -> bool {
        matches!(self, Self::Staged(_))
    }

    /// Whether all of it is in memory, and not with `more` bytes.
    pub(super) fn outgrows_memory(&self, more: usize) -> bool {
        matches!(self, Self::Staged(staged) if staged.len() + more > STAGED)
    }

    /// Another descriptor of its file, if it has one.
    pub(super) fn file(&self) -> io::Result<Option<File>> {
        match self {
            Self::Staged(_) => Ok(None),
            Self::Kept(_, file) => file.try_clone().map(Some),
        }
    }

    /// Writes `bytes` behind what `status` says is there, or nothing of it.
    pub(super) fn append(&mut self, bytes: &[u8], status: &IngestStatus, ingests: &Path) -> io::Result<()> {
        if self.outgrows_memory(bytes.len()) {
            self.keep(status, ingests)?;
        }
        let file = match self {
            Self::Staged(staged) => {
                staged.extend_from_slice(bytes);
                return Ok(());
            }
            Self::Kept(_, file) => file,
        };
        file.write_all_at(bytes, status.offset).inspect_err(|_| {
            // What did get written must not be found when the ingest is resumed.
            let _ = file.set_len(status.offset);
        })
    }

    /// Gives an ingest in memory its directory in `ingests`; nothing of it is left if that fails.
    pub(super) fn keep(&mut self, status: &IngestStatus, ingests: &Path) -> io::Result<()> {
        let Self::Staged(staged) = self else { return Ok(()) };
        let record = Record::of(ingests, &status.reference);
        let kept = DirBuilder::new().mode(0o755).create(record.dir()).and_then(|()| {
            record.begin(status)?;
            let file = File::options().read(true).write(true).create_new(true).open(record.data())?;
            file.write_all_at(staged, 0)?;
            Ok(file)
        });
        if kept.is_err() {
            // The first error counts; what cannot be removed now is swept at the next start.
            let _ = record.remove();
        }
        *self = Self::Kept(record, kept?);
        Ok(())
    }

    pub(super) fn truncate(&mut self) -> io::Result<()> {
        match self {
            Self::Staged(staged) => {
                staged.clear();
                Ok(())
            }
            Self::Kept(_, file) => file.set_len(0),
        }
    }

    /// Hashes all of it, again.
    pub(super) fn hash(&self, hasher: &mut Hasher) -> io::Result<()> {
        match self {
            Self::Staged(staged) => {
                hasher.update(staged);
                Ok(())
            }
            Self::Kept(record, _) => hasher.update_from(File::open(record.data())?).map(drop),
        }
    }

    /// Makes it a durable, read-only file: at `staging` if it was in memory, else where it is. Its mtime is now.
    pub(super) fn seal(&self, staging: &Path) -> io::Result<()> {
        match self {
            Self::Staged(staged) => {
                let mut file = OpenOptions::new().write(true).create_new(true).mode(0o444).open(staging)?;
                file.write_all(staged)?;
                file.sync_all()
            }
            Self::Kept(_, file) => {
                file.set_permissions(Permissions::from_mode(0o444))?;
                file.set_modified(SystemTime::now())?;
                file.sync_all()
            }
        }
    }

    /// Leaves it to be resumed, after a power cut too.
    pub(super) fn leave(&mut self, status: &IngestStatus, ingests: &Path) -> io::Result<()> {
        self.keep(status, ingests)?;
        let Self::Kept(record, file) = self else { return Ok(()) };
        file.sync_all()?;
        record.touch(status.updated_at)
    }

    /// Removes what is left of it on disk.
    pub(super) fn remove(&self) -> io::Result<()> {
        match self {
            Self::Staged(_) => Ok(()),
            Self::Kept(record, _) => record.remove(),
        }
    }
}

/// The status of an ingest that begins now.
pub(super) fn beginning(reference: &str, total: u64) -> IngestStatus {
    let now = Timestamp::now();
    IngestStatus { reference: reference.to_owned(), offset: 0, total, expected: None, started_at: now, updated_at: now }
}
