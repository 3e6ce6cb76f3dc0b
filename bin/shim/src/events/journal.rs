//! Events not yet acknowledged, in the bundle, for the case that the supervisor dies.
//!
//! ```text
//! 0                 8
//! | first (u64 BE)  | length (u32 BE) | ForwardRequest | length | ForwardRequest | …
//! ```
//!
//! `first` is the offset of the oldest event not acknowledged. When there is none left the
//! file is cut back, so it stays as small as the queue. It needs no `fsync`: it protects
//! from the death of this process; after that of the host there are no processes to report.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

const NAME: &str = "events.journal";
const HEADER: u64 = 8;

/// A journal larger than this is not read back: something else wrote it.
const LIMIT: u64 = 64 << 20;

/// The journal, open for writing from the first event on.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: Option<File>,
    first: u64,
    end: u64,
}

impl Journal {
    pub(super) fn new(bundle: &Path) -> Self {
        Self { path: bundle.join(NAME), file: None, first: HEADER, end: HEADER }
    }

    /// Adds an event.
    pub(super) fn append(&mut self, event: &[u8]) -> io::Result<()> {
        if self.file.is_none() {
            let mut options = File::options();
            let file = options.write(true).create(true).truncate(true).mode(0o600).open(&self.path)?;
            file.write_all_at(&HEADER.to_be_bytes(), 0)?;
            self.file = Some(file);
        }
        let Some(file) = &self.file else { return Ok(()) };
        let length = u32::try_from(event.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
        let mut record = length.to_be_bytes().to_vec();
        record.extend_from_slice(event);
        file.write_all_at(&record, self.end)?;
        self.end += record.len() as u64;
        Ok(())
    }

    /// The oldest event, of `length` bytes, has arrived.
    pub(super) fn acknowledge(&mut self, length: usize) -> io::Result<()> {
        let Some(file) = &self.file else { return Ok(()) };
        self.first += 4 + length as u64;
        if self.first < self.end {
            return file.write_all_at(&self.first.to_be_bytes(), 0);
        }
        // Between the two a reader finds an offset behind the end, which means nothing.
        (self.first, self.end) = (HEADER, HEADER);
        file.set_len(HEADER)?;
        file.write_all_at(&HEADER.to_be_bytes(), 0)
    }
}

/// The events a dead supervisor left in `bundle`, oldest first.
pub(crate) fn unacknowledged(bundle: &Path) -> Vec<Vec<u8>> {
    let path = bundle.join(NAME);
    let is_sane = std::fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_file() && metadata.len() <= LIMIT);
    let bytes = if is_sane { std::fs::read(&path).unwrap_or_default() } else { Vec::new() };
    records(&bytes)
}

fn records(bytes: &[u8]) -> Vec<Vec<u8>> {
    let first = bytes.first_chunk::<8>().map(|first| u64::from_be_bytes(*first));
    let mut rest = first.and_then(|first| bytes.get(usize::try_from(first).ok()?.max(8)..)).unwrap_or_default();
    let mut events = Vec::new();
    // The last record may be cut short.
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let Some((event, after)) = after.split_at_checked(u32::from_be_bytes(*length) as usize) else { break };
        events.push(event.to_vec());
        rest = after;
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_acknowledged_is_found_again_in_order() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = Journal::new(dir.path());
        assert!(unacknowledged(dir.path()).is_empty());
        for event in [&b"one"[..], b"", b"three"] {
            journal.append(event).unwrap();
        }
        assert_eq!(unacknowledged(dir.path()), [b"one".to_vec(), b"".to_vec(), b"three".to_vec()]);
        journal.acknowledge(3).unwrap();
        journal.acknowledge(0).unwrap();
        assert_eq!(unacknowledged(dir.path()), [b"three".to_vec()]);
        journal.acknowledge(5).unwrap();
        assert!(unacknowledged(dir.path()).is_empty());
        assert_eq!(std::fs::metadata(dir.path().join(NAME)).unwrap().len(), HEADER);
        journal.append(b"again").unwrap();
        assert_eq!(unacknowledged(dir.path()), [b"again".to_vec()]);
    }

    #[test]
    fn a_torn_journal_gives_what_is_whole() {
        let mut bytes = HEADER.to_be_bytes().to_vec();
        bytes.extend_from_slice(&[0, 0, 0, 1, b'a', 0, 0, 0, 9, b'b']);
        assert_eq!(records(&bytes), [b"a".to_vec()]);
        for cut in 0..bytes.len() {
            records(&bytes[..cut]);
        }
        assert!(records(&u64::MAX.to_be_bytes()).is_empty());
        assert!(records(&[0; 3]).is_empty());
    }
}
