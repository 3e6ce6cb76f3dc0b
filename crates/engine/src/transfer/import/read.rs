//! The thread that reads an archive from front to back.

use super::{
    WHAT,
    input::{Pieces, broken, finish, open},
    keep::{Keeper, cut_short},
};
use crate::transfer::ByteInput;
use bytes::Bytes;
use client::{
    MAX_DOCUMENT, Written,
    archive::{Archive, HEAD, Place, TarEntry, digest_of_path, each_entry},
};
use model::{Error, Result};
use std::{io::Read, ops::ControlFlow, path::Path};
use tokio::{runtime::Handle, task::JoinSet};

/// Most bytes of documents kept, all together.
const MAX_DOCUMENTS: u64 = 64 << 20;
/// Most blobs that are synced while the next one is read.
const MAX_PENDING: usize = 4;
/// Bytes of a blob read and hashed at a time.
const CHUNK: usize = 256 << 10;

/// Reads the whole of `input`: documents are kept in memory, everything else becomes a blob.
pub(super) fn read(input: ByteInput, perhaps_compressed: bool, keeper: &Keeper, runtime: &Handle) -> Result<Archive> {
    let mut pieces = Pieces::new(input);
    let mut reading = Reading {
        archive: Archive::new(WHAT),
        keeper,
        runtime,
        pending: JoinSet::new(),
        documents: 0,
        chunk: vec![0; CHUNK],
    };
    let tar = open(&mut pieces, perhaps_compressed)?;
    each_entry(WHAT, tar, broken, |path, entry| reading.entry(path, entry).map(ControlFlow::Continue))?;
    while reading.settle()? {}
    finish(&mut pieces)?;
    Ok(reading.archive)
}

struct Reading<'a> {
    archive: Archive,
    keeper: &'a Keeper,
    runtime: &'a Handle,
    pending: JoinSet<Result<(String, Place)>>,
    /// Bytes of documents so far.
    documents: u64,
    chunk: Vec<u8>,
}

impl Reading<'_> {
    fn entry(&mut self, path: String, entry: &mut TarEntry<'_, impl Read>) -> Result<()> {
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => self.file(path, entry),
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(broken)?;
                match target.as_deref().and_then(Path::to_str) {
                    Some(target) => self.archive.insert_link(&path, target),
                    None => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }

    fn file(&mut self, path: String, entry: &mut TarEntry<'_, impl Read>) -> Result<()> {
        let size = entry.size();
        let first = self.fill(entry)?;
        let is_document = size <= MAX_DOCUMENT && matches!(self.chunk.first(), Some(b'{' | b'[')) && first > 0;
        if is_document { self.document(path, size, first, entry) } else { self.blob(path, size, first, entry) }
    }

    fn document(&mut self, path: String, size: u64, first: usize, rest: &mut impl Read) -> Result<()> {
        self.documents += size;
        if self.documents > MAX_DOCUMENTS {
            return Err(Error::invalid_argument(format!("{WHAT} holds more than {MAX_DOCUMENTS} bytes of documents")));
        }
        let mut bytes = self.chunk[..first].to_vec();
        rest.read_to_end(&mut bytes).map_err(broken)?;
        if bytes.len() as u64 != size {
            return Err(cut_short(&path, bytes.len() as u64, size));
        }
        self.archive.insert(path, Place::Memory(bytes.into()))
    }

    fn blob(&mut self, path: String, size: u64, first: usize, rest: &mut impl Read) -> Result<()> {
        let head = Bytes::copy_from_slice(&self.chunk[..first.min(HEAD)]);
        let expected = digest_of_path(&path);
        let Some(mut writer) = self.keeper.open(&path, size, expected.as_ref())? else {
            // Its bytes are skipped. Only an expected digest is there already.
            let Some(digest) = expected else { return Ok(()) };
            let written = Written { digest, size, existed: true };
            return self.archive.insert(path, Place::Stored { written, head });
        };
        // A blob of another namespace need only be committed.
        if writer.status().offset < size || size == 0 {
            match self.copy(&mut writer, first, rest) {
                Ok(written) if written == size => {}
                failed => {
                    let _the_first_error_counts = writer.abort();
                    return failed.and_then(|written| Err(cut_short(&path, written, size)));
                }
            }
        }
        if self.pending.len() >= MAX_PENDING {
            self.settle()?;
        }
        let commit = move || {
            let written = Keeper::commit(writer, &path, size, Default::default())?;
            Ok((path, Place::Stored { written, head }))
        };
        self.pending.spawn_blocking_on(commit, self.runtime);
        Ok(())
    }

    /// Writes the `first` bytes of the buffer and the `rest`, and says how many that were.
    fn copy(&mut self, writer: &mut store::ContentWriter, first: usize, rest: &mut impl Read) -> Result<u64> {
        let (mut len, mut written) = (first, 0);
        while len > 0 {
            writer.write(&self.chunk[..len])?;
            written += len as u64;
            len = self.fill(rest)?;
        }
        Ok(written)
    }

    /// Fills the buffer as far as `from` goes.
    fn fill(&mut self, from: &mut impl Read) -> Result<usize> {
        let mut filled = 0;
        while filled < self.chunk.len() {
            match from.read(&mut self.chunk[filled..]) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(broken(error)),
            }
        }
        Ok(filled)
    }

    /// Waits for one of the blobs being synced; whether there was one.
    fn settle(&mut self) -> Result<bool> {
        let Some(done) = self.runtime.block_on(self.pending.join_next()) else { return Ok(false) };
        let (path, place) = done.map_err(|error| Error::internal("store a blob").caused_by(error))??;
        self.archive.insert(path, place)?;
        Ok(true)
    }
}
