//! A file of one of the trees: what there is to know about it, and which of its attributes belong in a layer.

use crate::layers::{
    rooted::{Directory, failed},
    tar::{Kind, Xattr},
    xattr,
};
use model::Result;
use rustix::{
    fd::{AsRawFd, OwnedFd},
    fs::{self, AtFlags, FileType, Mode, OFlags, Stat},
    io::Errno,
};

/// A name in an open directory, and what it was when we looked.
#[derive(Clone, Copy)]
pub(super) struct File<'a> {
    pub(super) directory: &'a Directory,
    pub(super) name: &'a [u8],
    pub(super) stat: Stat,
}

impl<'a> File<'a> {
    /// Looks at `name`; `None` if there is nothing.
    pub(super) fn find(directory: &'a Directory, name: &'a [u8]) -> Result<Option<Self>> {
        match fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(Self { directory, name, stat })),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed("stat")(errno)),
        }
    }

    pub(super) fn file_type(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    pub(super) fn is_directory(&self) -> bool {
        self.file_type() == FileType::Directory
    }

    /// What it is in an archive; `None` for a socket, of which an archive has nothing.
    pub(super) fn kind(&self) -> Option<Kind> {
        match self.file_type() {
            FileType::RegularFile => Some(Kind::File),
            FileType::Directory => Some(Kind::Directory),
            FileType::Symlink => Some(Kind::Symlink),
            FileType::CharacterDevice => Some(Kind::CharDevice),
            FileType::BlockDevice => Some(Kind::BlockDevice),
            FileType::Fifo => Some(Kind::Fifo),
            _ => None,
        }
    }

    /// What identifies the file under all its names, if it may have several.
    pub(super) fn links(&self) -> Option<(u64, u64)> {
        (!self.is_directory() && self.stat.st_nlink > 1).then_some((self.stat.st_dev, self.stat.st_ino))
    }

    /// In bytes.
    pub(super) fn size(&self) -> u64 {
        u64::try_from(self.stat.st_size).unwrap_or(0)
    }

    pub(super) fn read_link(&self) -> Result<Vec<u8>> {
        let link = fs::readlinkat(&self.directory.fd, self.name, Vec::new()).map_err(failed("read link"))?;
        Ok(link.into_bytes())
    }

    /// Opens a regular file. Should it have become something else, opening that does not block.
    pub(super) fn open(&self) -> Result<OwnedFd> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        fs::openat(&self.directory.fd, self.name, flags, Mode::empty()).map_err(failed("open"))
    }

    /// Opens the directory it is.
    pub(super) fn enter(&self) -> Result<Directory> {
        crate::layers::rooted::open_child(self.directory, self.name)
            .and_then(Directory::new)
            .map_err(failed("open directory"))
    }

    /// The extended attributes that make part of a layer, ordered by name.
    pub(super) fn xattrs(&self) -> Result<Vec<Xattr>> {
        let path = [format!("/proc/self/fd/{}/", self.directory.fd.as_raw_fd()).as_bytes(), self.name].concat();
        let names = match xattr::list(|buffer| fs::llistxattr(&path[..], buffer)) {
            Err(Errno::NOTSUP) => return Ok(Vec::new()),
            names => names.map_err(failed("list extended attributes"))?,
        };
        let mut xattrs = Vec::new();
        for name in names.into_iter().filter(|name| is_kept(name)) {
            match xattr::get(|buffer| fs::lgetxattr(&path[..], &name[..], buffer)) {
                Ok(value) => xattrs.push((name, value)),
                Err(Errno::NODATA | Errno::NOTSUP) => {}
                Err(errno) => return Err(failed("read extended attribute")(errno)),
            }
        }
        xattrs.sort();
        Ok(xattrs)
    }
}

/// Capabilities, ACLs and what users set. Not `trusted`, which overlayfs keeps its own in and which no one applies, and
/// not `security.selinux`: the label a container ran with is the host's, not the image's.
fn is_kept(name: &[u8]) -> bool {
    matches!(name, b"security.capability" | b"system.posix_acl_access" | b"system.posix_acl_default")
        || (name.starts_with(b"user.") && !name.starts_with(b"user.overlay."))
}
