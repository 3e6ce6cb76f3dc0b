//! What a layer's archive leaves to the layers below, settled once they are known.
//!
//! Three things in an overlay's upper directory depend on what it is laid over: what a directory looks like that the
//! archive has files in but no entry for; what of the root an opaque root hides, since overlayfs does not look for the
//! mark there; and whether a whiteout hides anything, since overlayfs lists it as a device in a directory that no layer
//! below has. A layer may be unpacked before those below it, so the applier marks such places with extended attributes,
//! and [`reconcile`] settles them: at the end of the archive if the mount names the layers below, else when the snapshot
//! gets its parent. The marks are `trusted` attributes, which no archive sets and no diff reads.

use super::{
    target::Whiteouts,
    tree::Tree,
    whiteout::{is_whiteout, make_whiteout, mark_opaque, opaque_mark},
};
use crate::layers::{
    reach::{open, reach},
    rooted::{Directory, MAX_DEPTH, failed, open_child, shown},
    xattr,
};
use model::{Error, Mount, Result};
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, Dir, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};
use std::path::Path;

/// On the upper directory: something in it is to be reconciled. Its value says whether the root is opaque, too.
const PENDING: &str = "trusted.containerd.pending";
const PLACES: &[u8] = b"places";
const OPAQUE_ROOT: &[u8] = b"opaque";
/// On a directory that the archive has no entry for: it takes after the one below.
const IMPLIED: &str = "trusted.containerd.implied";

impl Tree<'_> {
    /// Marks a new directory that the archive has no entry for.
    pub(super) fn mark_implied(&mut self, directory: &OwnedFd) -> Result<()> {
        if let Whiteouts::Overlay { .. } = self.whiteouts {
            fs::fsetxattr(directory, IMPLIED, b"y", XattrFlags::empty()).map_err(failed("mark directory"))?;
            self.mark_pending()?;
        }
        Ok(())
    }

    /// Takes the mark away: the archive says what the directory looks like, or that it is a new one.
    pub(super) fn unmark_implied(&self, directory: &OwnedFd) -> Result<()> {
        if let Whiteouts::Overlay { .. } = self.whiteouts { unmark(directory, IMPLIED) } else { Ok(()) }
    }

    /// Marks the upper directory as one with something to reconcile.
    pub(super) fn mark_pending(&mut self) -> Result<()> {
        if self.pending {
            return Ok(());
        }
        match fs::fsetxattr(&self.root.fd, PENDING, PLACES, XattrFlags::CREATE) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(errno) => return Err(failed("mark upper directory")(errno)),
        }
        self.pending = true;
        Ok(())
    }

    /// Marks the upper directory as one that hides everything below.
    pub(super) fn mark_root_opaque(&mut self) -> Result<()> {
        fs::fsetxattr(&self.root.fd, PENDING, OPAQUE_ROOT, XattrFlags::empty())
            .map_err(failed("mark upper directory"))?;
        self.pending = true;
        Ok(())
    }
}

/// Whether the file system of `directory` keeps the marks.
pub(crate) fn keeps_marks(directory: &Path) -> bool {
    let set = fs::setxattr(directory, PENDING, PLACES, XattrFlags::empty());
    set.and_then(|()| fs::removexattr(directory, PENDING)).is_ok()
}

/// Makes the overlay's directory `upper` what it has to be above `below` (nothing: the lowest layer), if a layer
/// unpacked there left something to that. Says whether it changed something that is not durable yet.
///
/// Interrupted, it can be repeated with the same `below`.
pub(crate) fn reconcile(upper: &Path, below: &[Mount], user_xattr: bool) -> Result<bool> {
    let root = open(upper)?;
    let Some(pending) = mark(&root.fd, PENDING)? else { return Ok(false) };
    let mut mounted = Vec::new();
    let below = if below.is_empty() { None } else { Some(reach(below, &mut mounted)?) };
    let opaque = pending == OPAQUE_ROOT;
    let shows_through = below.as_ref().filter(|_| !opaque).map(duplicate).transpose()?;
    let mut changed = walk(duplicate(&root)?, shows_through, opaque_mark(user_xattr))?;
    if let Some(below) = below.filter(|_| opaque) {
        hide(&root, &below, user_xattr)?;
        changed = true;
    }
    // Last: until then it is known that there is something to do.
    unmark(&root.fd, PENDING)?;
    if !changed {
        // Most whiteouts hide something: that nothing else is written is much less to wait for.
        fs::fsync(&root.fd).map_err(failed("sync upper directory"))?;
    }
    Ok(changed)
}

/// A directory of the upper side being walked.
struct Level {
    name: Vec<u8>,
    upper: Directory,
    /// What shows through it.
    below: Option<Directory>,
    /// Directories in it that are still to be walked.
    directories: Vec<Vec<u8>>,
    is_implied: bool,
    /// Its times, if they have to be set again once all else is done.
    times: Option<Timestamps>,
}

/// Says whether something was changed.
fn walk(upper: Directory, below: Option<Directory>, opaque_mark: &str) -> Result<bool> {
    let mut changed = false;
    let mut levels = vec![Level::open(Vec::new(), upper, below, opaque_mark)?];
    while let Some(level) = levels.last_mut() {
        let next = match level.directories.pop() {
            Some(name) => level.enter(name, opaque_mark).map(Some),
            None => {
                changed |= level.is_changed();
                level.finish().map(|()| None)
            }
        };
        match next {
            Ok(Some(_)) if levels.len() >= MAX_DEPTH => {
                let message = format!("{}: more than {MAX_DEPTH} directories deep", shown(&path(&levels)));
                return Err(Error::failed_precondition(message));
            }
            Ok(Some(next)) => levels.push(next),
            Ok(None) => drop(levels.pop()),
            Err(error) => return Err(error.context(shown(&path(&levels)))),
        }
    }
    Ok(changed)
}

fn path(levels: &[Level]) -> Vec<u8> {
    levels.iter().skip(1).map(|level| &level.name[..]).collect::<Vec<_>>().join(&b'/')
}

impl Level {
    /// Opens `name` in this directory, on both sides.
    fn enter(&self, name: Vec<u8>, opaque_mark: &str) -> Result<Self> {
        let upper = open_child(&self.upper, &name).and_then(Directory::new).map_err(failed("open directory"))?;
        let below = match self.below.as_ref().map(|below| open_child(below, &name).and_then(Directory::new)) {
            // Something else there shows through no directory.
            None | Some(Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP)) => None,
            Some(found) => Some(found.map_err(failed("open directory below"))?),
        };
        Self::open(name, upper, below, opaque_mark)
    }

    /// Does what there is to do in `upper` itself; `below` is the directory that it is laid over.
    fn open(name: Vec<u8>, upper: Directory, below: Option<Directory>, opaque_mark: &str) -> Result<Self> {
        let before = fs::fstat(&upper.fd).map_err(failed("stat"))?;
        let is_implied = mark(&upper.fd, IMPLIED)?.is_some();
        let mut times = None;
        if is_implied && let Some(below) = &below {
            times = Some(inherit(&below.fd, &upper.fd)?);
        }
        let is_opaque = mark(&upper.fd, opaque_mark)?.is_some_and(|value| value == b"y");
        let below = below.filter(|_| !is_opaque);
        let (directories, whiteouts) = list(&upper)?;
        for name in whiteouts {
            let hides = below.as_ref().map_or(Ok(false), |below| has(below, &name));
            if !hides.map_err(failed("look for what a whiteout hides"))? {
                fs::unlinkat(&upper.fd, &name[..], AtFlags::empty()).map_err(failed("remove whiteout"))?;
                times.get_or_insert(times_of(&before));
            }
        }
        Ok(Self { name, upper, below, directories, is_implied, times })
    }

    fn is_changed(&self) -> bool {
        self.is_implied || self.times.is_some()
    }

    /// Does what comes after everything in it.
    fn finish(&self) -> Result<()> {
        if let Some(times) = &self.times {
            fs::futimens(&self.upper.fd, times).map_err(failed("set times"))?;
        }
        if self.is_implied { unmark(&self.upper.fd, IMPLIED) } else { Ok(()) }
    }
}

/// Gives the directory `upper` owner, attributes and mode of the one below; returns the times it is to have.
fn inherit(below: &OwnedFd, upper: &OwnedFd) -> Result<Timestamps> {
    let stat = fs::fstat(below).map_err(failed("stat directory below"))?;
    let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
    fs::fchown(upper, Some(uid), Some(gid)).map_err(failed("change owner"))?;
    copy_xattrs(below, upper)?;
    // An ACL among the attributes changes the mode, too.
    fs::fchmod(upper, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(failed("change mode"))?;
    Ok(times_of(&stat))
}

fn copy_xattrs(from: &OwnedFd, to: &OwnedFd) -> Result<()> {
    let names = match xattr::list(|buffer| fs::flistxattr(from, buffer)) {
        Err(Errno::NOTSUP) => return Ok(()),
        names => names.map_err(failed("list extended attributes"))?,
    };
    for name in names.iter().filter(|name| !name.starts_with(b"trusted.") && !name.starts_with(b"user.overlay.")) {
        let value = match xattr::get(|buffer| fs::fgetxattr(from, &name[..], buffer)) {
            Err(Errno::NOTSUP | Errno::NODATA) => continue,
            value => value.map_err(failed("read extended attribute"))?,
        };
        match fs::fsetxattr(to, &name[..], &value, XattrFlags::empty()) {
            Ok(()) | Err(Errno::NOTSUP) => {}
            Err(errno) => return Err(failed("copy extended attribute")(errno)),
        }
    }
    Ok(())
}

/// Hides in the directory `upper` everything that `below` shows: overlayfs does not look for the mark on its root.
fn hide(upper: &Directory, below: &Directory, user_xattr: bool) -> Result<()> {
    for entry in Dir::read_from(&below.fd).map_err(failed("read directory below"))? {
        let entry = entry.map_err(failed("read directory below"))?;
        let name = entry.file_name().to_bytes();
        if matches!(name, b"." | b"..") || !has(below, name).map_err(failed("stat"))? {
            continue;
        }
        match make_whiteout(upper, name) {
            Ok(()) => {}
            // What the layer has there itself is a new directory, or no directory.
            Err(Errno::EXIST) => match open_child(upper, name) {
                Ok(fd) => mark_opaque(&fd, user_xattr)?,
                Err(Errno::NOTDIR | Errno::LOOP) => {}
                Err(errno) => return Err(failed("open directory")(errno)),
            },
            Err(errno) => return Err(failed("make whiteout")(errno)),
        }
    }
    Ok(())
}

type Names = Vec<Vec<u8>>;

/// The directories and the whiteouts in `directory`.
fn list(directory: &Directory) -> Result<(Names, Names)> {
    let (mut directories, mut whiteouts) = (Vec::new(), Vec::new());
    for entry in Dir::read_from(&directory.fd).map_err(failed("read directory"))? {
        let entry = entry.map_err(failed("read directory"))?;
        let name = entry.file_name().to_bytes();
        match entry.file_type() {
            FileType::Directory if !matches!(name, b"." | b"..") => directories.push(name.to_vec()),
            FileType::CharacterDevice => {
                let stat = fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat"))?;
                if is_whiteout(&stat) {
                    whiteouts.push(name.to_vec());
                }
            }
            _ => {}
        }
    }
    Ok((directories, whiteouts))
}

/// Whether `directory` shows `name`. That of the lowest layer is no mount, so a whiteout in it is one.
fn has(directory: &Directory, name: &[u8]) -> Result<bool, Errno> {
    match fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(!is_whiteout(&stat)),
        Err(Errno::NOENT) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// The value of an attribute, if there is one.
fn mark(directory: &OwnedFd, name: &str) -> Result<Option<Vec<u8>>> {
    match xattr::get(|buffer| fs::fgetxattr(directory, name, buffer)) {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NODATA | Errno::NOTSUP) => Ok(None),
        Err(errno) => Err(failed("read mark")(errno)),
    }
}

fn unmark(directory: &OwnedFd, name: &str) -> Result<()> {
    match fs::fremovexattr(directory, name) {
        Ok(()) | Err(Errno::NODATA | Errno::NOTSUP) => Ok(()),
        Err(errno) => Err(failed("remove mark")(errno)),
    }
}

fn duplicate(directory: &Directory) -> Result<Directory> {
    let fd = rustix::io::fcntl_dupfd_cloexec(&directory.fd, 0).map_err(failed("open directory"))?;
    Directory::new(fd).map_err(failed("stat"))
}

fn times_of(stat: &Stat) -> Timestamps {
    let spec = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    Timestamps {
        last_access: spec(stat.st_atime, stat.st_atime_nsec),
        last_modification: spec(stat.st_mtime, stat.st_mtime_nsec),
    }
}
