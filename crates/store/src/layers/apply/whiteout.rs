//! Whiteouts: entries that say what of the layers below is gone (OCI image-spec, layer.md).
//!
//! They concern the layers below alone, wherever in the archive they stand: what this layer itself unpacks stays.
//! Below an overlay's upper directory they become overlayfs's own marks; elsewhere files are deleted.

use super::{target::Whiteouts, tree::Tree};
use crate::layers::{
    rooted::{Directory, failed, open_child, shown},
    tar::Entry,
};
use model::{Error, Result};
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, FileType, Mode, Stat, XattrFlags},
    io::Errno,
};
use std::rc::Rc;

const PREFIX: &[u8] = b".wh.";
const OPAQUE: &[u8] = b".wh..wh..opq";

/// What a file name beginning with `.wh.` stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Whiteout<'a> {
    /// Nothing of the directory is to be seen from below.
    Opaque,
    /// The file of this name is gone.
    Gone(&'a [u8]),
}

impl<'a> Whiteout<'a> {
    /// Reads a file name; `None` for an ordinary one.
    pub(super) fn of(name: &'a [u8]) -> Result<Option<Self>> {
        if name == OPAQUE {
            return Ok(Some(Self::Opaque));
        }
        match name.strip_prefix(PREFIX) {
            None => Ok(None),
            Some(b"" | b"." | b"..") => {
                Err(Error::unknown(format!("invalid whiteout name: {}: invalid archive", shown(name))))
            }
            Some(gone) => Ok(Some(Self::Gone(gone))),
        }
    }
}

impl Tree<'_> {
    /// Does what `entry`, a whiteout in the directory `parent`, says.
    pub(super) fn whiteout(&mut self, parent: &[u8], whiteout: Whiteout<'_>, entry: &Entry) -> Result<()> {
        let directory = self.directory(parent)?;
        match whiteout {
            Whiteout::Opaque => self.hide_below(parent, &directory),
            Whiteout::Gone(name) => match self.whiteouts {
                Whiteouts::Delete => self.delete(&directory, name),
                Whiteouts::Overlay { .. } => self.mark_gone(&directory, name, entry),
            },
        }
    }

    fn hide_below(&mut self, path: &[u8], directory: &Rc<Directory>) -> Result<()> {
        self.remove_what_was_there(directory)?;
        match self.whiteouts {
            Whiteouts::Delete => Ok(()),
            Whiteouts::Overlay { .. } if path.is_empty() => self.mark_root_opaque(),
            Whiteouts::Overlay { user_xattr } => mark_opaque(&directory.fd, user_xattr),
        }
    }

    fn delete(&mut self, directory: &Directory, name: &[u8]) -> Result<()> {
        if !self.is_unpacked(directory.id, name) {
            return self.remove(directory, name);
        }
        match open_child(directory, name) {
            Ok(fd) => self.remove_what_was_there(&Directory::new(fd).map_err(failed("stat"))?),
            // A file of this layer.
            Err(Errno::NOTDIR | Errno::LOOP | Errno::NOENT) => Ok(()),
            Err(errno) => Err(failed("open directory")(errno)),
        }
    }

    fn mark_gone(&mut self, directory: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        match make_whiteout(directory, name) {
            Err(Errno::EXIST) if self.is_unpacked(directory.id, name) => {
                return self.hide_below_unpacked(directory, name);
            }
            // From an earlier layer applied to the same upper directory.
            Err(Errno::EXIST) => {
                self.remove(directory, name)?;
                make_whiteout(directory, name).map_err(failed("make whiteout"))?;
            }
            made => made.map_err(failed("make whiteout"))?,
        }
        self.mark_pending()?;
        self.change_owner_of(directory, name, entry)
    }

    /// If what this layer made at `name` is a directory, it is a new one and shows nothing of one below.
    fn hide_below_unpacked(&self, directory: &Directory, name: &[u8]) -> Result<()> {
        match open_child(directory, name) {
            Ok(fd) => self.make_new(&fd),
            Err(Errno::NOTDIR | Errno::LOOP) => Ok(()),
            Err(errno) => Err(failed("open directory")(errno)),
        }
    }

    /// A whiteout gives way to a directory, which then shows nothing of the one that was deleted.
    pub(super) fn make_directory_over_whiteout(&self, parent: &Directory, name: &[u8], mode: u32) -> Result<()> {
        fs::unlinkat(&parent.fd, name, AtFlags::empty()).map_err(failed("remove whiteout"))?;
        fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(mode)).map_err(failed("make directory"))?;
        self.make_new(&open_child(parent, name).map_err(failed("open directory"))?)
    }

    /// Makes `directory` one that has nothing of the one below.
    fn make_new(&self, directory: &OwnedFd) -> Result<()> {
        let Whiteouts::Overlay { user_xattr } = self.whiteouts else { return Ok(()) };
        self.unmark_implied(directory)?;
        mark_opaque(directory, user_xattr)
    }

    /// Whether `stat` is of an overlayfs whiteout, in a tree where those mean something.
    pub(super) fn means_gone(&self, stat: &Stat) -> bool {
        matches!(self.whiteouts, Whiteouts::Overlay { .. }) && is_whiteout(stat)
    }
}

/// The attribute that makes a directory opaque to overlayfs, by the mount option `userxattr`.
pub(super) fn opaque_mark(user_xattr: bool) -> &'static str {
    if user_xattr { "user.overlay.opaque" } else { "trusted.overlay.opaque" }
}

pub(super) fn mark_opaque(directory: &OwnedFd, user_xattr: bool) -> Result<()> {
    fs::fsetxattr(directory, opaque_mark(user_xattr), b"y", XattrFlags::empty())
        .map_err(failed("mark directory opaque"))
}

/// Whether `stat` is of what overlayfs takes for a whiteout.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

pub(super) fn make_whiteout(directory: &Directory, name: &[u8]) -> Result<(), Errno> {
    fs::mknodat(&directory.fd, name, FileType::CharacterDevice, Mode::empty(), 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whiteouts_are_told_by_name() {
        assert_eq!(Whiteout::of(b"file").unwrap(), None);
        assert_eq!(Whiteout::of(b".wh").unwrap(), None);
        assert_eq!(Whiteout::of(b".wh.file").unwrap(), Some(Whiteout::Gone(b"file")));
        assert_eq!(Whiteout::of(b".wh..wh.plnk").unwrap(), Some(Whiteout::Gone(b".wh.plnk")));
        assert_eq!(Whiteout::of(OPAQUE).unwrap(), Some(Whiteout::Opaque));
        for bad in [&b".wh."[..], b".wh..", b".wh..."] {
            assert!(Whiteout::of(bad).is_err());
        }
    }
}
