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
mod handle;
mod keys;
mod tx;

pub(crate) use codec::{Decoder, Encoder, Record};
pub(crate) use keys::{Key, Kind};
pub(crate) use tx::{Effects, Read, Reader, Tx};

use crate::EventSink;
use committer::Committer;
use handle::Handle;
use model::{Error, Result};
use redb::TableDefinition;
use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, atomic::AtomicU64},
};

/// The only table: every record, by [`Key`].
const RECORDS: TableDefinition<'_, &[u8], &[u8]> = TableDefinition::new("records");

/// How many sequence numbers are reserved by one write.
const RESERVED: u64 = 1024;

/// What the committer tells after each commit: that there was one, and what it deleted.
pub(crate) type Observer = Box<dyn Fn(&Effects) + Send>;

/// The open database.
pub(crate) struct Db {
    handle: Arc<Handle>,
    committer: Committer,
    sequence: Mutex<Sequence>,
    syncs: Arc<AtomicU64>,
}

/// Numbers are reserved in blocks, so that drawing one need not write.
#[derive(Default)]
struct Sequence {
    last: u64,
    /// As stored: none beyond it may be drawn.
    reserved: u64,
}

impl Db {
    /// Opens or creates the database `path`.
    pub(crate) fn open(path: &Path, no_sync: bool, sink: Arc<dyn EventSink>, observer: Observer) -> Result<Self> {
        let syncs = Arc::new(AtomicU64::new(0));
        let mut db = Self::start(Handle::open(path, no_sync, Arc::clone(&syncs))?, sink, observer)?;
        db.syncs = syncs;
        Ok(db)
    }

    fn start(handle: Handle, sink: Arc<dyn EventSink>, observer: Observer) -> Result<Self> {
        let handle = Arc::new(handle);
        let committer = Committer::spawn(Arc::clone(&handle), sink, observer)?;
        let db = Self { handle, committer, sequence: Mutex::default(), syncs: Arc::default() };
        let reserved = db.read()?.get(&Key::sequence())?.map(|bytes| number(&bytes)).transpose()?.unwrap_or(0);
        *db.sequence.lock().unwrap_or_else(PoisonError::into_inner) = Sequence { last: reserved, reserved };
        Ok(db)
    }

    /// A view of the database as of now.
    pub(crate) fn read(&self) -> Result<Reader> {
        let transaction = self.handle.begin_read()?;
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

    /// Returns when everything acknowledged so far is durable; see [`Tx::durable_soon`].
    pub(crate) fn sync(&self) -> Result<()> {
        self.write(|tx| {
            tx.sync();
            Ok(())
        })
    }

    /// A number never used before by this database, nor after a crash.
    pub(crate) fn next_sequence(&self) -> Result<u64> {
        let mut sequence = self.sequence.lock().unwrap_or_else(PoisonError::into_inner);
        if sequence.last == sequence.reserved {
            let reserved = sequence.reserved + RESERVED;
            self.write(move |tx| {
                tx.put(&Key::sequence(), reserved.to_be_bytes().to_vec());
                Ok(())
            })?;
            sequence.reserved = reserved;
        }
        sequence.last += 1;
        Ok(sequence.last)
    }

    /// How often the file was synced.
    #[cfg(test)]
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(std::sync::atomic::Ordering::Relaxed)
    }
}

impl fmt::Debug for Db {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Db").field("handle", &self.handle).field("syncs", &self.syncs).finish_non_exhaustive()
    }
}

fn number(bytes: &[u8]) -> Result<u64> {
    let bytes = bytes.try_into().map_err(|_| Error::data_loss("metadata: a stored number has not 8 bytes"))?;
    Ok(u64::from_be_bytes(bytes))
}

/// An error of redb as one of ours.
fn storage(what: &str, error: impl Into<redb::Error>) -> Error {
    let what = format!("metadata: {what}");
    match error.into() {
        redb::Error::Io(error) => Error::io(what, error),
        redb::Error::Corrupted(why) => Error::data_loss(what).caused_by(why),
        redb::Error::PreviousIo => Error::unavailable(what).caused_by("an earlier write failed"),
        redb::Error::DatabaseClosed => Error::unavailable(what).caused_by("it is being opened again"),
        error => Error::internal(what).caused_by(error),
    }
}

#[cfg(test)]
mod power_cut;
#[cfg(test)]
mod tests;
