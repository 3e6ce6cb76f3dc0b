//! The metadata database: one redb file, one table, private to this crate.
//!
//! Reads are read transactions, never blocked by writers or by garbage collection. Writes are closures
//! that one thread runs, many to a commit (`committer`); each closure sees the database through a [`Tx`],
//! which keeps its changes apart until it has succeeded. `keys` says what is stored under which name,
//! `codec` how records are written.
//!
//! Commits are two-phase with the allocator's state in each, so that opening after a crash neither trusts
//! a half-written commit nor walks the whole file.

mod codec;
mod committer;
mod file;
mod keys;
mod tx;

pub(crate) use codec::{Decoder, Encoder, Record};
pub(crate) use keys::{Key, Kind};
pub(crate) use tx::{Effects, Read, Reader, Tx};

use crate::EventSink;
use committer::Committer;
use file::SyncedFile;
use model::{Error, Result};
use redb::{Database, DatabaseError, ReadableDatabase as _, StorageError, TableDefinition};
use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

/// The only table: every record, by [`Key`].
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// Version of the keys and records, raised by every change that an older program would misread.
const SCHEMA: u64 = 1;

/// Bytes of pages kept in memory. The kernel's page cache holds the rest; reading it again is cheap.
const CACHE: usize = 512 << 10;

/// How many sequence numbers are reserved by one write.
const RESERVED: u64 = 1024;

/// What the committer tells after each commit: that there was one, and what it deleted.
pub(crate) type Observer = Box<dyn Fn(&Effects) + Send>;

/// The open database.
pub(crate) struct Db {
    database: Arc<Database>,
    committer: Committer,
    syncs: Arc<AtomicU64>,
    /// The next sequence number; those up to the one stored are reserved.
    sequence: AtomicU64,
}

impl Db {
    /// Opens or creates the database `path`.
    pub(crate) fn open(path: &Path, no_sync: bool, sink: Arc<dyn EventSink>, observer: Observer) -> Result<Self> {
        let (file, syncs) = SyncedFile::open(path, no_sync)?;
        let opened =
            catch_unwind(AssertUnwindSafe(|| redb::Builder::new().set_cache_size(CACHE).create_with_backend(file)));
        // A file that was altered behind redb's back can make it panic.
        let database = opened
            .unwrap_or_else(|_| Err(DatabaseError::Storage(StorageError::Corrupted(String::from("unreadable")))))
            .map_err(|error| open_error(path, error))?;
        let database = Arc::new(database);
        prepare(&database).map_err(|error| error.context(format!("open metadata {}", path.display())))?;
        let committer = Committer::spawn(Arc::clone(&database), sink, observer)?;
        let db = Self { database, committer, syncs, sequence: AtomicU64::new(0) };
        let reserved = db.read()?.get(&Key::sequence())?.map(|bytes| number(&bytes)).transpose()?.unwrap_or(0);
        db.sequence.store(reserved, Ordering::Relaxed);
        Ok(db)
    }

    /// A view of the database as of now.
    pub(crate) fn read(&self) -> Result<Reader> {
        let transaction = self.database.begin_read().map_err(|error| storage("begin read", error))?;
        let table = transaction.open_table(RECORDS).map_err(|error| storage("open records", error))?;
        Ok(Reader::new(table))
    }

    /// Runs `work` in a transaction, together with others that wait, and returns when it is durable.
    ///
    /// An error of `work` undoes what it wrote, and nothing else.
    pub(crate) fn write<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, '_>) -> Result<T> + Send + 'static,
    {
        self.committer.run(work)
    }

    /// A number never used before by this database, nor after a crash.
    pub(crate) fn next_sequence(&self) -> Result<u64> {
        let number = self.sequence.fetch_add(1, Ordering::Relaxed) + 1;
        // The first of each block waits until the block is reserved; the others follow at their leisure,
        // as their own write comes after it in the queue.
        if (number - 1).is_multiple_of(RESERVED) {
            self.write(move |tx| {
                tx.put(&Key::sequence(), (number - 1 + RESERVED).to_be_bytes().to_vec());
                Ok(())
            })?;
        }
        Ok(number)
    }

    /// How often the file was synced.
    #[cfg(test)]
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Db").field("syncs", &self.syncs).finish_non_exhaustive()
    }
}

/// Makes the table and the schema's version, or checks it.
fn prepare(database: &Database) -> Result<()> {
    let transaction = database.begin_write().map_err(|error| storage("begin write", error))?;
    let mut fresh = false;
    {
        let mut table = transaction.open_table(RECORDS).map_err(|error| storage("open records", error))?;
        let key = Key::schema();
        let version = {
            use redb::ReadableTable as _;
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

fn number(bytes: &[u8]) -> Result<u64> {
    let bytes = bytes.try_into().map_err(|_| Error::data_loss("metadata: a stored number has not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
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

/// An error of redb as one of ours.
fn storage(what: &str, error: impl Into<redb::Error>) -> Error {
    let what = format!("metadata: {what}");
    match error.into() {
        redb::Error::Io(error) => Error::io(what, error),
        redb::Error::Corrupted(why) => Error::data_loss(what).caused_by(why),
        redb::Error::PreviousIo => Error::unavailable(what).caused_by("an earlier write failed; restart containerd"),
        error => Error::internal(what).caused_by(error),
    }
}

#[cfg(test)]
mod tests;
