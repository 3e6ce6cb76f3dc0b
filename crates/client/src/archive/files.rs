//! An archive that was read: where each of its files is.

use crate::content::Written;
use crate::oci::check_document_size;
use bytes::Bytes;
use model::{Digest, Error, Kind, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::os::unix::{ffi::OsStrExt as _, fs::FileExt as _};
use std::path::{Component, Path};
use std::sync::Arc;

/// Most files in an archive: an image has a few for each layer.
const MAX_FILES: usize = 100_000;

/// Most bytes of a path in an archive: no file system takes longer ones.
const MAX_PATH: usize = 4096;

/// Most bytes of all paths in an archive, and of where links lead.
const MAX_NAMES: usize = 16 << 20;

/// Enough of a file to tell how it is compressed.
pub const HEAD: usize = 4;

/// An opened archive.
#[derive(Debug)]
pub struct Archive {
    /// What errors call it.
    pub what: String,
    files: BTreeMap<String, Place>,
    /// Symbolic links, by their path, with the path they lead to.
    links: BTreeMap<String, String>,
    /// Bytes of all these paths.
    names: usize,
}

/// Where a file of the archive is.
#[derive(Clone, Debug)]
pub enum Place {
    /// In the archive itself.
    Range {
        /// The archive.
        file: Arc<File>,
        /// Where it begins, in bytes.
        offset: u64,
        /// How long it is, in bytes.
        size: u64,
    },
    /// In memory, because the archive could be read only once.
    Memory(Bytes),
    /// In the content store already, for the same reason; with its first bytes.
    Stored {
        /// What it became.
        written: Written,
        /// How it begins, up to [`HEAD`] bytes.
        head: Bytes,
    },
}

impl Archive {
    /// An archive without files yet.
    pub fn new(what: &str) -> Self {
        Self { what: what.to_owned(), files: BTreeMap::new(), links: BTreeMap::new(), names: 0 }
    }

    /// Adds a file; of two with the same path the later one counts, as for tar itself.
    pub fn insert(&mut self, path: String, place: Place) -> Result<()> {
        if self.files.len() >= MAX_FILES {
            return Err(Error::invalid_argument(format!("{} has more than {MAX_FILES} files", self.what)));
        }
        self.count(path.len())?;
        self.files.insert(path, place);
        Ok(())
    }

    fn count(&mut self, name: usize) -> Result<()> {
        self.names += name;
        if self.names <= MAX_NAMES {
            return Ok(());
        }
        Err(Error::invalid_argument(format!("{} has more than {MAX_NAMES} bytes of paths", self.what)))
    }

    /// Adds a symbolic link at `path` to `target`, relative to the link's own folder.
    pub fn insert_link(&mut self, path: &str, target: &str) -> Result<()> {
        if self.links.len() >= MAX_FILES {
            return Err(Error::invalid_argument(format!("{} has more than {MAX_FILES} links", self.what)));
        }
        let folder = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
        // Docker's archives link layers to each other; a link that leads outside leads to nothing.
        if let Some(target) = normal(&folder.join(target), true) {
            self.count(path.len() + target.len())?;
            self.links.insert(path.to_owned(), target);
        }
        Ok(())
    }

    /// Where file `path` is, perhaps through one link.
    pub fn place(&self, path: &str) -> Option<&Place> {
        let path = normal(Path::new(path), false)?;
        self.files.get(&path).or_else(|| self.files.get(self.links.get(&path)?))
    }

    /// Where the blob with `digest` is in an OCI layout.
    pub fn blob(&self, digest: &Digest) -> Option<&Place> {
        self.files.get(&blob_path(digest))
    }

    /// The whole of a small file.
    pub fn document(&self, path: &str) -> Result<Option<Bytes>> {
        self.place(path).map(|place| place.read(&format!("{} in {}", path, self.what))).transpose()
    }
}

impl Place {
    /// Its size in bytes.
    pub fn size(&self) -> u64 {
        match self {
            Self::Range { size, .. } => *size,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Stored { written, .. } => written.size,
        }
    }

    /// Its first bytes.
    pub fn head(&self) -> Result<Bytes> {
        match self {
            Self::Range { file, offset, size } => {
                let mut head = vec![0; HEAD.min(usize::try_from(*size).unwrap_or(HEAD))];
                let read = file.read_exact_at(&mut head, *offset);
                read.map_err(|error| Error::io("read the archive", error))?;
                Ok(head.into())
            }
            Self::Memory(bytes) => Ok(bytes.slice(..HEAD.min(bytes.len()))),
            Self::Stored { head, .. } => Ok(head.clone()),
        }
    }

    /// The whole of it, if it is small.
    pub fn read(&self, what: &str) -> Result<Bytes> {
        check_document_size(what, self.size())?;
        match self {
            Self::Range { file, offset, size } => {
                let mut bytes = vec![0; usize::try_from(*size).unwrap_or_default()];
                let read = file.read_exact_at(&mut bytes, *offset);
                read.map_err(|error| Error::io(format!("read {what}"), error))?;
                Ok(bytes.into())
            }
            Self::Memory(bytes) => Ok(bytes.clone()),
            Self::Stored { .. } => Err(Error::invalid_argument(format!("{what} is not a JSON document"))),
        }
    }
}

/// The path of a blob in an OCI layout.
pub fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// The digest that a path in an OCI layout promises.
pub fn digest_of_path(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Whether the bytes begin a gzip or zstd stream.
pub fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// A path of the archive in its shortest form; an error if it leads out of the archive, or is longer than any.
pub(super) fn entry_path(what: &str, path: &Path) -> Result<String> {
    let len = path.as_os_str().len();
    if len > MAX_PATH {
        let begin = String::from_utf8_lossy(&path.as_os_str().as_bytes()[..64]).into_owned();
        return Err(Error::invalid_argument(format!(
            "{what} holds a file whose path has {len} bytes, more than {MAX_PATH}: {begin:?}…"
        )));
    }
    normal(path, false)
        .ok_or_else(|| Error::invalid_argument(format!("{what} holds a file with an invalid path {}", path.display())))
}

/// A path without `.` parts and leading slash. `..` may only undo an earlier part, and only if `upward`.
fn normal(path: &Path, upward: bool) -> Option<String> {
    let mut parts = Vec::new();
    for component in path.components() {
        match component {
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::CurDir | Component::RootDir => {}
            Component::ParentDir if upward => drop(parts.pop()?),
            Component::ParentDir | Component::Prefix(_) => return None,
        }
    }
    Some(parts.join("/"))
}

/// The error for something that cannot be read as tar.
pub fn not_a_tar(what: &str, error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::Other || error.kind() == io::ErrorKind::UnexpectedEof {
        Kind::InvalidArgument
    } else {
        return Error::io(format!("read {what}"), error);
    };
    Error::new(kind, format!("{what} is not a whole tar archive")).caused_by(error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_inside() {
        assert_eq!(entry_path("x", Path::new("./blobs//sha256/a")).unwrap(), "blobs/sha256/a");
        for bad in ["../x", "a/../../x", "a/../b"] {
            assert!(entry_path("x", Path::new(bad)).is_err(), "{bad}");
        }
        let mut archive = Archive::new("x");
        archive.insert("b/layer.tar".into(), Place::Memory(Bytes::from_static(b"l"))).unwrap();
        archive.insert_link("a/layer.tar", "../b/layer.tar").unwrap();
        archive.insert_link("a/out", "../../etc/passwd").unwrap();
        assert_eq!(archive.place("a/layer.tar").unwrap().size(), 1);
        assert!(archive.place("a/out").is_none());
    }

    #[test]
    fn paths_are_bounded_each_and_all_together() {
        assert!(entry_path("x", Path::new(&"p".repeat(MAX_PATH))).is_ok());
        let error = entry_path("x", Path::new(&"p".repeat(MAX_PATH + 1))).unwrap_err().to_string();
        assert!(error.contains("4097 bytes") && error.len() < 200, "{error}");
        let mut archive = Archive::new("x");
        let long = |index: usize| format!("{index:04096}");
        let files = MAX_NAMES / MAX_PATH - 2;
        for index in 0..files {
            archive.insert(long(index), Place::Memory(Bytes::new())).unwrap();
        }
        archive.insert_link(&long(files), &long(0)).unwrap();
        assert!(archive.insert_link("l", "t").unwrap_err().to_string().contains("bytes of paths"));
        assert!(archive.insert("f".into(), Place::Memory(Bytes::new())).is_err());
    }

    #[test]
    fn a_blobs_path_promises_its_digest() {
        let digest = crate::oci::sha256(b"x");
        assert_eq!(digest_of_path(&blob_path(&digest)), Some(digest));
        assert_eq!(digest_of_path("blobs/sha256/zz"), None);
        assert_eq!(digest_of_path("abc/layer.tar"), None);
    }
}
