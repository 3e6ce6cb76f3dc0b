//! The open file. After a failed write redb refuses all further ones, as it cannot know what reached the
//! disk; opening the file again finds the last good commit. So a disk that was full costs the requests of
//! that moment, and not the daemon.

use super::file::SyncedFile;
use super::{Key, RECORDS, number, storage};
use model::{Error, Result};
use redb::{
    Database, DatabaseError, ReadTransaction, ReadableDatabase as _, ReadableTable as _, StorageBackend, StorageError,
    WriteTransaction,
};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock, atomic::AtomicU64},
};

/// Version of the keys and records, raised by every change that an older program would misread.
pub(super) const SCHEMA: u64 = 1;

/// Bytes of pages kept in memory. The kernel's page cache holds the rest; reading it again is cheap.
const CACHE: usize = 512 << 10;

pub(super) struct Handle {
    path: PathBuf,
    open: Box<Open>,
    /// `None` after a failure, until it could be opened again.
    database: RwLock<Option<Database>>,
}

/// Opens the file once more.
type Open = dyn Fn() -> Result<Database> + Send + Sync;

impl Handle {
    /// Opens or creates the database `path`; `syncs` counts how often it is synced.
    pub(super) fn open(path: &Path, no_sync: bool, syncs: Arc<AtomicU64>) -> Result<Self> {
        let file = path.to_owned();
        Self::on(path, Box::new(move || open(&file, SyncedFile::open(&file, no_sync, Arc::clone(&syncs))?)))
    }

    /// The database that `open` opens; `path` is for messages.
    pub(super) fn on(path: &Path, open: Box<Open>) -> Result<Self> {
        let database = RwLock::new(Some(open()?));
        Ok(Self { path: path.to_owned(), open, database })
    }

    pub(super) fn begin_read(&self) -> Result<ReadTransaction> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(|| self.closed())?;
        database.begin_read().map_err(|error| storage("begin read", error))
    }

    /// Begins a write; opens the file again if it had to be given up.
    pub(super) fn begin_write(&self) -> Result<WriteTransaction> {
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(database) = database.as_ref() {
            return database.begin_write().map_err(|error| storage("begin write", error));
        }
        drop(database);
        self.reopen()?;
        let database = self.database.read().unwrap_or_else(PoisonError::into_inner);
        let database = database.as_ref().ok_or_else(|| self.closed())?;
        database.begin_write().map_err(|error| storage("begin write", error))
    }

    /// Goes back to the last commit on disk. On failure there is nothing to read until it succeeds.
    pub(super) fn reopen(&self) -> Result<()> {
        let mut database = self.database.write().unwrap_or_else(PoisonError::into_inner);
        // First this one has to let go of the file's lock.
        *database = None;
        *database = Some((self.open)()?);
        Ok(())
    }

    fn closed(&self) -> Error {
        Error::unavailable(format!("metadata {} could not be opened again after a failed write", self.path.display()))
    }
}

/// Opens the database that is on `file`.
pub(super) fn open(path: &Path, file: impl StorageBackend) -> Result<Database> {
    let opened =
        catch_unwind(AssertUnwindSafe(|| redb::Builder::new().set_cache_size(CACHE).create_with_backend(file)));
    // A file that was altered behind redb's back can make it panic.
    let database = opened
        .unwrap_or_else(|_| Err(DatabaseError::Storage(StorageError::Corrupted(String::from("unreadable")))))
        .map_err(|error| open_error(path, error))?;
    prepare(&database).map_err(|error| error.context(format!("open metadata {}", path.display())))?;
    Ok(database)
}

/// Makes the table and the schema's version, or checks it.
fn prepare(database: &Database) -> Result<()> {
    let transaction = database.begin_write().map_err(|error| storage("begin write", error))?;
    let mut fresh = false;
    {
        let mut table = transaction.open_table(RECORDS).map_err(|error| storage("open records", error))?;
        let key = Key::schema();
        let version = {
            let stored = table.get(key.as_ref()).map_err(|error| storage("read schema", error))?;
            stored.map(|bytes| number(bytes.value())).transpose()?
        };
        match version {
            Some(SCHEMA) => {}
            Some(version) => {
                return Err(Error::failed_precondition(format!(
                    "schema version {version} is newer than this program's {SCHEMA}: upgrade containerd"
                )));
            }
            None => {
                let value = SCHEMA.to_be_bytes();
                table.insert(key.as_ref(), value.as_slice()).map_err(|error| storage("write schema", error))?;
                fresh = true;
            }
        }
    }
    if fresh {
        return transaction.commit().map_err(|error| storage("commit", error));
    }
    transaction.abort().map_err(|error| storage("abort", error))
}

fn open_error(path: &Path, error: DatabaseError) -> Error {
    let path = path.display();
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            Error::failed_precondition(format!("metadata {path} is in use by another process"))
        }
        DatabaseError::UpgradeRequired(version) => {
            Error::failed_precondition(format!("metadata {path} has format {version}, which this program cannot read"))
        }
        error => storage(&format!("open metadata {path}"), error),
    }
}

impl fmt::Debug for Handle {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Handle({})", self.path.display())
    }
}
