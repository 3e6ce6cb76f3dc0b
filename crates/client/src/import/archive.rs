//! The tar archive: where each of its files is.

use super::stream;
use crate::Client;
use crate::content::{Chunks, Expect, Written, check_document_size};
use crate::progress::Progress;
use bytes::Bytes;
use model::{Digest, Error, Kind, Result};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Seek as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Component, Path};
use std::sync::Arc;

/// Most files in an archive: an image has a few for each layer.
const MAX_FILES: usize = 100_000;

/// Enough of a file to tell how it is compressed.
pub(crate) const HEAD: usize = 4;

/// An opened archive.
#[derive(Debug)]
pub(crate) struct Archive {
    /// What errors call it.
    pub(crate) what: String,
    files: BTreeMap<String, Place>,
    /// Symbolic links, by their path, with the path they lead to.
    links: BTreeMap<String, String>,
}

/// Where a file of the archive is.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// In the archive itself.
    Range { file: Arc<File>, offset: u64, size: u64 },
    /// In memory, because the archive could be read only once.
    Memory(Bytes),
    /// In the content store already, for the same reason; with its first bytes.
    Stored { written: Written, head: Bytes },
}

impl Archive {
    /// Indexes `input` if it is a plain file; otherwise reads it through, storing blobs as they come.
    pub(crate) async fn open(
        client: &Client,
        what: &str,
        mut input: File,
        progress: &Arc<dyn Progress>,
    ) -> Result<Self> {
        let metadata = input.metadata().map_err(|error| Error::io(format!("open {what}"), error))?;
        let at_start = input.stream_position().is_ok_and(|position| position == 0);
        let mut head = [0; HEAD];
        if metadata.is_file() && at_start && (input.read_at(&mut head, 0).is_err() || !is_compressed(&head)) {
            return index(what, input, metadata.len());
        }
        stream::drain(client, what, input, progress).await
    }

    /// An archive without files yet.
    pub(crate) fn new(what: &str) -> Self {
        Self { what: what.to_owned(), files: BTreeMap::new(), links: BTreeMap::new() }
    }

    /// Adds a file; of two with the same path the later one counts, as for tar itself.
    pub(crate) fn insert(&mut self, path: String, place: Place) -> Result<()> {
        if self.files.len() >= MAX_FILES {
            return Err(Error::invalid_argument(format!("{} has more than {MAX_FILES} files", self.what)));
        }
        self.files.insert(path, place);
        Ok(())
    }

    /// Adds a symbolic link at `path` to `target`, relative to the link's own folder.
    pub(crate) fn insert_link(&mut self, path: &str, target: &str) -> Result<()> {
        if self.links.len() >= MAX_FILES {
            return Err(Error::invalid_argument(format!("{} has more than {MAX_FILES} links", self.what)));
        }
        let folder = Path::new(path).parent().unwrap_or_else(|| Path::new(""));
        // Docker's archives link layers to each other; a link that leads outside leads to nothing.
        if let Some(target) = normal(&folder.join(target), true) {
            self.links.insert(path.to_owned(), target);
        }
        Ok(())
    }

    /// Where file `path` is, perhaps through one link.
    pub(crate) fn place(&self, path: &str) -> Option<&Place> {
        let path = normal(Path::new(path), false)?;
        self.files.get(&path).or_else(|| self.files.get(self.links.get(&path)?))
    }

    /// Where the blob with `digest` is in an OCI layout.
    pub(crate) fn blob(&self, digest: &Digest) -> Option<&Place> {
        self.files.get(&blob_path(digest))
    }

    /// The whole of a small file.
    pub(crate) fn document(&self, path: &str) -> Result<Option<Bytes>> {
        self.place(path).map(|place| place.read(&format!("{} in {}", path, self.what))).transpose()
    }
}

impl Place {
    /// Its size in bytes.
    pub(crate) fn size(&self) -> u64 {
        match self {
            Self::Range { size, .. } => *size,
            Self::Memory(bytes) => bytes.len() as u64,
            Self::Stored { written, .. } => written.size,
        }
    }

    /// Its first bytes.
    pub(crate) fn head(&self) -> Result<Bytes> {
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
    pub(crate) fn read(&self, what: &str) -> Result<Bytes> {
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

    /// Sees to it that it is in the content store, as `expect` says.
    pub(crate) async fn store(
        &self,
        client: &Client,
        reference: &str,
        expect: &Expect,
        progress: &Arc<dyn Progress>,
    ) -> Result<Written> {
        let what = reference.to_owned();
        let mut chunks = match self {
            Self::Range { file, offset, size } => Chunks::of_file(what, file.clone(), *offset, *size),
            Self::Memory(bytes) => Chunks::of(what, bytes.clone()),
            Self::Stored { written, .. } => {
                client.label_blob(&written.digest, expect.labels.clone()).await?;
                return Ok(written.clone());
            }
        };
        if let Some(digest) = &expect.digest {
            chunks = chunks.watched(progress.clone(), digest.clone());
        }
        client.write_blob(reference, expect, chunks).await
    }
}

/// The path of a blob in an OCI layout.
pub(crate) fn blob_path(digest: &Digest) -> String {
    format!("blobs/{}/{}", digest.algorithm().as_str(), digest.hex())
}

/// The digest that a path in an OCI layout promises.
pub(crate) fn digest_of_path(path: &str) -> Option<Digest> {
    let (algorithm, hex) = path.strip_prefix("blobs/")?.split_once('/')?;
    format!("{algorithm}:{hex}").parse().ok()
}

/// Whether the bytes begin a gzip or zstd stream.
pub(crate) fn is_compressed(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b]) || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
}

/// A path of the archive in its shortest form; an error if it leads out of the archive.
pub(crate) fn entry_path(what: &str, path: &Path) -> Result<String> {
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
pub(crate) fn not_a_tar(what: &str, error: io::Error) -> Error {
    let kind = if error.kind() == io::ErrorKind::Other || error.kind() == io::ErrorKind::UnexpectedEof {
        Kind::InvalidArgument
    } else {
        return Error::io(format!("read {what}"), error);
    };
    Error::new(kind, format!("{what} is not a whole tar archive")).caused_by(error)
}

/// Finds every file by its header alone.
fn index(what: &str, input: File, len: u64) -> Result<Archive> {
    let file = Arc::new(input.try_clone().map_err(|error| Error::io(format!("open {what}"), error))?);
    let mut archive = Archive::new(what);
    let mut tar = tar::Archive::new(input);
    for entry in tar.entries_with_seek().map_err(|error| not_a_tar(what, error))? {
        let entry = entry.map_err(|error| not_a_tar(what, error))?;
        let path = entry.path().map_err(|error| not_a_tar(what, error))?;
        let path = entry_path(what, &path)?;
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > len) {
                    return Err(Error::invalid_argument(format!("{what} is cut short in the middle of {path}")));
                }
                archive.insert(path, Place::Range { file: file.clone(), offset, size })?;
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(|error| not_a_tar(what, error))?;
                if let Some(target) = target.as_deref().and_then(Path::to_str) {
                    archive.insert_link(&path, target)?;
                }
            }
            _ => {}
        }
    }
    Ok(archive)
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
    fn a_blobs_path_promises_its_digest() {
        let digest = crate::oci::sha256(b"x");
        assert_eq!(digest_of_path(&blob_path(&digest)), Some(digest));
        assert_eq!(digest_of_path("blobs/sha256/zz"), None);
        assert_eq!(digest_of_path("abc/layer.tar"), None);
    }
}
