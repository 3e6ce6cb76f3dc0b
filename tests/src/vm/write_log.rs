//! The log of every write and flush of a disk, as qemu's `blklogwrites` driver keeps it.
//!
//! The format is that of the kernel's dm-log-writes target (Documentation/admin-guide/device-mapper/
//! log-writes.rst): a super block, then per entry a header of one sector and the data written.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

const MAGIC: u64 = 0x006a_7366_7773_6872;
const SECTOR: u64 = 512;
const FLUSH: u64 = 1;
const DISCARD: u64 = 4;

/// A log file, removed when dropped.
#[derive(Debug)]
pub struct WriteLog {
    dir: TempDir,
}

/// One request, and where in the log file its data is.
#[derive(Clone, Copy, Debug)]
struct Entry {
    sector: u64,
    sectors: u64,
    flags: u64,
    data: u64,
}

impl Default for WriteLog {
    fn default() -> Self {
        Self::new()
    }
}

impl WriteLog {
    /// An empty log for a machine to fill.
    #[must_use]
    pub fn new() -> Self {
        let log = Self { dir: tempfile::Builder::new().prefix("log-").tempdir().expect("make a temporary directory") };
        File::create(log.path()).expect("make the log");
        log
    }

    /// The log file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("writes.log")
    }

    /// How many times the disk was flushed. What was written before a flush is durable after it; what
    /// came after the last one counts as lost.
    #[must_use]
    pub fn flushes(&self) -> usize {
        self.entries().iter().filter(|entry| entry.flags & FLUSH != 0).count()
    }

    /// Brings `disk`, a copy of the image before the log began, to what it held at the `flush`-th flush.
    pub fn replay(&self, disk: &Path, flush: usize) {
        let log = File::open(self.path()).expect("open the log");
        let disk = File::options().write(true).open(disk).expect("open the disk");
        let mut flushes = 0;
        for entry in self.entries() {
            if entry.flags & DISCARD == 0 && entry.sectors > 0 {
                let mut data = vec![0; usize::try_from(entry.sectors * SECTOR).expect("a request fits memory")];
                log.read_exact_at(&mut data, entry.data).expect("read the log");
                disk.write_all_at(&data, entry.sector * SECTOR).expect("write the disk");
            }
            flushes += usize::from(entry.flags & FLUSH != 0);
            if flushes > flush {
                return;
            }
        }
    }

    fn entries(&self) -> Vec<Entry> {
        let log = File::open(self.path()).expect("open the log");
        let word = |offset: u64| {
            let mut bytes = [0; 8];
            log.read_exact_at(&mut bytes, offset).expect("read the log");
            u64::from_le_bytes(bytes)
        };
        assert_eq!((word(0), word(8)), (MAGIC, 1), "not a write log");
        let mut entries = Vec::new();
        let mut offset = SECTOR;
        for _ in 0..word(16) {
            let entry = Entry {
                sector: word(offset),
                sectors: word(offset + 8),
                flags: word(offset + 16),
                data: offset + SECTOR,
            };
            offset = entry.data + if entry.flags & DISCARD == 0 { entry.sectors * SECTOR } else { 0 };
            entries.push(entry);
        }
        entries
    }
}
