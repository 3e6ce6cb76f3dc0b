//! Content on disk: immutable blobs named by their digest, and ingests that become blobs.
//!
//! The layout is containerd's own, so that either daemon can take over the other's directory:
//!
//! ```text
//! <root>/blobs/<algorithm>/<hex>      mode 0444; its mtime is when it was committed
//! <root>/ingest/<sha256 hex of ref>/  one ingest: ref, data, startedat, updatedat and maybe total
//! <root>/staging/                     ours alone: small blobs between their sync and their name
//! ```
//!
//! A blob appears under its name whole and durable or not at all: its file is synced, renamed, and the
//! directory is synced, before [`Ingest::commit`] returns. Labels, namespaces and leases are not known here.

mod data;
mod hash;
mod ingest;
mod record;
mod writers;

pub use hash::Hasher;
pub use ingest::{Committed, Ingest};

use model::{Algorithm, Digest, Error, IngestStatus, Result, Timestamp};
use record::Record;
use std::{
    collections::HashMap,
    fs::{self, File},
    io,
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};
use sys::fsync::{SharedSync, create_dir_all};
pub(crate) use writers::RefLock;
use writers::Writers;

/// The blobs and ingests below one directory. Clones share it.
#[derive(Clone, Debug)]
pub struct Blobs(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    writers: Arc<Writers>,
    /// The directories of blobs, each synced once for all commits that wait.
    syncs: Mutex<HashMap<Algorithm, Arc<SharedSync>>>,
    /// Tells the names in `staging` apart.
    staged: AtomicU64,
}

/// What the disk knows of a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BlobStat {
    /// In bytes.
    pub size: u64,
    /// When it was committed.
    pub committed_at: Timestamp,
}

/// A blob opened for reading.
#[derive(Debug)]
pub struct Blob {
    file: File,
    size: u64,
}

impl Blobs {
    /// Opens `root`, made if it is missing. Ingests that a crash left without what is needed to resume them
    /// are removed.
    pub fn open(root: impl Into<PathBuf>) -> Result<Self> {
        let root = root.into();
        let failed = |error| Error::io(format!("open content store {}", root.display()), error);
        for dir in ["blobs", "ingest"] {
            create_dir_all(&root.join(dir), 0o755).map_err(failed)?;
        }
        let staging = root.join("staging");
        match fs::remove_dir_all(&staging) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
            _ => fs::create_dir(&staging).map_err(failed)?,
        }
        let blobs = Self(Arc::new(Shared {
            root: root.clone(),
            writers: Arc::default(),
            syncs: Mutex::default(),
            staged: AtomicU64::new(0),
        }));
        blobs.algorithm_sync(Algorithm::Sha256)?;
        blobs.remove_broken_ingests().map_err(failed)?;
        Ok(blobs)
    }

    /// Opens a blob for reading.
    pub fn blob(&self, digest: &Digest) -> Result<Blob> {
        let opened = File::open(self.blob_path(digest)).and_then(|file| Ok((file.metadata()?.len(), file)));
        let (size, file) = opened.map_err(|error| blob_error(digest, error))?;
        Ok(Blob { file, size })
    }

    /// What the disk knows of a blob.
    pub fn stat(&self, digest: &Digest) -> Result<BlobStat> {
        let metadata = fs::metadata(self.blob_path(digest)).map_err(|error| blob_error(digest, error))?;
        stat(&metadata).map_err(|error| blob_error(digest, error))
    }

    /// Like [`stat`](Self::stat), and makes sure that the blob outlives a power cut: its writer may not have
    /// got that far yet. For those who record a blob that they did not commit themselves.
    pub fn stat_durable(&self, digest: &Digest) -> Result<BlobStat> {
        let stat = self.stat(digest)?;
        self.algorithm_sync(digest.algorithm())?.sync().map_err(|error| blob_error(digest, error))?;
        Ok(stat)
    }

    /// Removes a blob. Readers that have it open keep it.
    pub fn delete(&self, digest: &Digest) -> Result<()> {
        fs::remove_file(self.blob_path(digest)).map_err(|error| blob_error(digest, error))
    }

    /// Calls `visit` with each blob, in no order. Files that are no blobs are passed over.
    pub fn walk(&self, mut visit: impl FnMut(Digest, BlobStat) -> Result<()>) -> Result<()> {
        for algorithm in [Algorithm::Sha256, Algorithm::Sha384, Algorithm::Sha512] {
            let dir = self.algorithm_dir(algorithm);
            let failed = |error| Error::io(format!("list blobs in {}", dir.display()), error);
            let entries = match fs::read_dir(&dir) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                entries => entries.map_err(failed)?,
            };
            for entry in entries {
                let entry = entry.map_err(failed)?;
                let name = entry.file_name();
                let Ok(digest) = format!("{}:{}", algorithm.as_str(), name.to_string_lossy()).parse() else {
                    tracing::warn!(path = %entry.path().display(), "passing over a file that is no blob");
                    continue;
                };
                match entry.metadata().and_then(|metadata| stat(&metadata)) {
                    Ok(stat) => visit(digest, stat)?,
                    // Deleted meanwhile.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                    Err(error) => return Err(failed(error)),
                }
            }
        }
        Ok(())
    }

    /// Opens the ingest `reference` to write, begun or resumed, and locks it until the [`Ingest`] is dropped.
    ///
    /// `total` is the size expected, or 0; `expected` the digest, whose algorithm is then used.
    ///
    /// # Errors
    /// `Unavailable` if it is being written; `AlreadyExists` if there is a blob `expected`.
    pub fn ingest(&self, reference: &str, total: u64, expected: Option<&Digest>) -> Result<Ingest> {
        Ingest::open(self, reference, total, expected)
    }

    /// Keeps everybody from writing the ingest `reference`, which need not exist.
    ///
    /// # Errors
    /// `Unavailable` if it is being written.
    pub(crate) fn lock(&self, reference: &str) -> Result<Arc<RefLock>> {
        RefLock::acquire(&self.0.writers, reference).map(Arc::new)
    }

    /// How far the ingest `reference` is.
    pub fn status(&self, reference: &str) -> Result<IngestStatus> {
        if let Some(status) = self.0.writers.staged(reference) {
            return Ok(status);
        }
        let record = Record::of(&self.ingests_dir(), reference);
        record.status().map_err(|error| Error::io(format!("ingest ref {reference:?}"), error))
    }

    /// How far each ingest is, in no order.
    pub fn statuses(&self) -> Result<Vec<IngestStatus>> {
        let failed = |error| Error::io(format!("list ingests in {}", self.0.root.display()), error);
        let mut statuses = self.0.writers.all_staged();
        for entry in fs::read_dir(self.ingests_dir()).map_err(failed)? {
            // One that cannot be read is being made, committed or aborted just now.
            if let Ok(status) = Record::at(entry.map_err(failed)?.path()).status() {
                statuses.push(status);
            }
        }
        Ok(statuses)
    }

    /// Gives up the ingest `reference` and what was written. Its writer, if there is one, cannot commit.
    pub fn abort(&self, reference: &str) -> Result<()> {
        let staged = self.0.writers.abort(reference);
        match Record::of(&self.ingests_dir(), reference).remove() {
            Err(error) if !(staged && error.kind() == io::ErrorKind::NotFound) => {
                Err(Error::io(format!("ingest ref {reference:?}"), error))
            }
            _ => Ok(()),
        }
    }

    fn remove_broken_ingests(&self) -> io::Result<()> {
        for entry in fs::read_dir(self.ingests_dir())? {
            let record = Record::at(entry?.path());
            if let Err(error) = record.status() {
                tracing::info!(path = %record.dir().display(), %error, "removing an ingest that cannot be resumed");
                record.remove()?;
            }
        }
        Ok(())
    }

    /// A new name for a small blob on its way.
    fn staging_path(&self) -> PathBuf {
        self.0.root.join("staging").join(self.0.staged.fetch_add(1, Ordering::Relaxed).to_string())
    }

    fn ingests_dir(&self) -> PathBuf {
        self.0.root.join("ingest")
    }

    fn algorithm_dir(&self, algorithm: Algorithm) -> PathBuf {
        self.0.root.join("blobs").join(algorithm.as_str())
    }

    fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.algorithm_dir(digest.algorithm()).join(digest.hex())
    }

    /// The shared sync of the directory of `algorithm`, which is made first.
    fn algorithm_sync(&self, algorithm: Algorithm) -> Result<Arc<SharedSync>> {
        let mut syncs = lock(&self.0.syncs);
        if let Some(sync) = syncs.get(&algorithm) {
            return Ok(Arc::clone(sync));
        }
        let dir = self.algorithm_dir(algorithm);
        let made = create_dir_all(&dir, 0o755).and_then(|()| SharedSync::directory(&dir));
        let sync = Arc::new(made.map_err(|error| Error::io(format!("make {}", dir.display()), error))?);
        syncs.insert(algorithm, Arc::clone(&sync));
        Ok(sync)
    }
}

impl Blob {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Fills `buffer` from `offset` on; fewer bytes than asked for only at the end.
    pub fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    /// The file, positioned at its begin unless it was read before.
    pub fn into_file(self) -> File {
        self.file
    }
}

fn stat(metadata: &fs::Metadata) -> io::Result<BlobStat> {
    Ok(BlobStat { size: metadata.len(), committed_at: metadata.modified()?.into() })
}

fn blob_error(digest: &Digest, error: io::Error) -> Error {
    Error::io(format!("content {digest}"), error)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
