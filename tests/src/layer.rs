//! Layer tars made by hand, well-formed or hostile.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use tar::{EntryType, Header};

/// A layer under construction. Entries are written as given: nothing is checked or cleaned.
#[derive(Debug, Default)]
pub struct Layer {
    tar: Vec<u8>,
}

impl Layer {
    /// An empty layer.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a directory.
    #[must_use]
    pub fn dir(self, path: &str) -> Self {
        self.entry(path, EntryType::Directory, 0o755, b"", "")
    }

    /// Adds a file.
    #[must_use]
    pub fn file(self, path: &str, mode: u32, bytes: &[u8]) -> Self {
        self.entry(path, EntryType::Regular, mode, bytes, "")
    }

    /// Adds a symbolic link.
    #[must_use]
    pub fn symlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Symlink, 0o777, b"", target)
    }

    /// Adds a hard link.
    #[must_use]
    pub fn hardlink(self, path: &str, target: &str) -> Self {
        self.entry(path, EntryType::Link, 0o644, b"", target)
    }

    /// Adds the mark that removes `path` of the layers below.
    #[must_use]
    pub fn whiteout(self, path: &str) -> Self {
        let (dir, name) = path.rsplit_once('/').unwrap_or((".", path));
        self.file(&format!("{dir}/.wh.{name}"), 0o644, b"")
    }

    /// Adds any entry; names are put into the header as they are, up to its 100 bytes.
    #[must_use]
    pub fn entry(mut self, path: &str, kind: EntryType, mode: u32, bytes: &[u8], link: &str) -> Self {
        let mut header = Header::new_ustar();
        let raw = header.as_ustar_mut().expect("a ustar header");
        raw.name[..path.len()].copy_from_slice(path.as_bytes());
        raw.linkname[..link.len()].copy_from_slice(link.as_bytes());
        header.set_entry_type(kind);
        header.set_mode(mode);
        header.set_size(bytes.len() as u64);
        header.set_mtime(1_700_000_000);
        header.set_cksum();
        self.tar.extend_from_slice(header.as_bytes());
        self.tar.extend_from_slice(bytes);
        self.tar.resize(self.tar.len().next_multiple_of(512), 0);
        self
    }

    /// The tar.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.tar.extend_from_slice(&[0; 1024]);
        self.tar
    }
}

/// Compresses bytes with gzip.
#[must_use]
pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("compress in memory")
}
