//! The database's file: redb's own, with its syncs counted, or left out where the user wants none.

use model::{Error, Result};
use redb::{BackendError, DatabaseError, StorageBackend, backends::FileBackend};
use std::{
    fs::File,
    io,
    ops::Bound,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};
use sys::fsync::sync_dir;

#[derive(Debug)]
pub(super) struct SyncedFile {
    inner: FileBackend,
    no_sync: bool,
    syncs: Arc<AtomicU64>,
}

impl SyncedFile {
    /// Opens or creates `path`; `syncs` counts its syncs.
    pub(super) fn open(path: &Path, no_sync: bool, syncs: Arc<AtomicU64>) -> Result<Self> {
        let failed = |error| Error::io(format!("open metadata {}", path.display()), error);
        let new = !path.exists();
        let file = File::options().read(true).write(true).create(true).truncate(false).mode(0o600).open(path);
        let file = file.map_err(failed)?;
        if new && let Some(dir) = path.parent() {
            sync_dir(dir).map_err(failed)?;
        }
        let inner = FileBackend::new(file).map_err(|error| match error {
            DatabaseError::DatabaseAlreadyOpen => {
                Error::failed_precondition(format!("metadata {} is in use by another process", path.display()))
            }
            error => super::storage("open", error),
        })?;
        Ok(Self { inner, no_sync, syncs })
    }
}

impl StorageBackend for SyncedFile {
    fn len(&self) -> io::Result<u64> {
        self.inner.len()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.inner.read(offset, out)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.inner.set_len(len)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.syncs.fetch_add(1, Ordering::Relaxed);
        if self.no_sync { Ok(()) } else { self.inner.sync_data() }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.inner.write(offset, data)
    }

    fn close(&self) -> io::Result<()> {
        self.inner.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.inner.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.inner.query_lock_range(start, end)
    }
}
