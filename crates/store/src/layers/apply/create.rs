//! One entry of the archive becomes one file, with as few system calls as it takes.
//!
//! What a new file's owner and mode are is asked (one `fstat`) rather than set: mostly they are right already.

use super::{
    target::Whiteouts,
    tree::{Tree, times},
};
use crate::layers::{
    options::{IdMap, IdRange},
    rooted::{Directory, clean, failed, join, open_child, shown, split},
    tar::{Entry, Kind, Reader},
};
use model::{Error, Result};
use rustix::{
    fd::{AsFd, AsRawFd, OwnedFd},
    fs::{self, AtFlags, FallocateFlags, FileType, Gid, Mode, OFlags, Stat, Timestamps, Uid, XattrFlags},
    io::Errno,
    process,
};
use std::rc::Rc;

impl Tree<'_> {
    /// Makes `entry` at `name` in the directory `parent`; a file's data is read from `reader`.
    pub(super) fn create(&mut self, parent: &[u8], name: &[u8], entry: &Entry, reader: &mut Reader<'_>) -> Result<()> {
        let directory = self.directory(parent)?;
        match entry.kind {
            Kind::Directory => self.make_directory(&directory, parent, name, entry)?,
            Kind::File => {
                let file = self.replacing(&directory, name, || {
                    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                    fs::openat(&directory.fd, name, flags, Mode::from_raw_mode(entry.mode & 0o777))
                })?;
                write_data(&file, entry, reader, self.reserves)?;
                let stat = fs::fstat(&file).map_err(failed("stat"))?;
                self.set_attributes(&file, &stat, entry)?;
                fs::futimens(&file, &times(entry)).map_err(failed("set times"))?;
            }
            Kind::Symlink => {
                self.replacing(&directory, name, || fs::symlinkat(&entry.link[..], &directory.fd, name))?;
                self.change_owner_of(&directory, name, entry)?;
                self.set_xattrs_of(&directory, name, entry)?;
                set_times_of(&directory, name, &times(entry))?;
            }
            Kind::Hardlink => self.make_hardlink(&directory, name, entry)?,
            Kind::CharDevice | Kind::BlockDevice | Kind::Fifo => self.make_special(&directory, name, entry)?,
        }
        self.mark_unpacked(&directory, name);
        Ok(())
    }

    /// Runs `make`; if something is in its way, removes that and runs it again.
    fn replacing<T>(&mut self, directory: &Directory, name: &[u8], make: impl Fn() -> Result<T, Errno>) -> Result<T> {
        match make() {
            Err(Errno::EXIST) => {
                self.remove(directory, name)?;
                make().map_err(failed("create"))
            }
            made => made.map_err(failed("create")),
        }
    }

    fn make_directory(&mut self, directory: &Rc<Directory>, parent: &[u8], name: &[u8], entry: &Entry) -> Result<()> {
        let mode = entry.mode & 0o777;
        let mut was_there = false;
        match fs::mkdirat(&directory.fd, name, Mode::from_raw_mode(mode)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat"))?;
                if self.means_gone(&stat) {
                    self.make_directory_over_whiteout(directory, name, mode)?;
                } else if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                    self.remove(directory, name)?;
                    fs::mkdirat(&directory.fd, name, Mode::from_raw_mode(mode)).map_err(failed("make directory"))?;
                } else {
                    was_there = true;
                }
            }
            Err(errno) => return Err(failed("make directory")(errno)),
        }
        let fd = open_child(directory, name).map_err(failed("open directory"))?;
        if was_there {
            self.unmark_implied(&fd)?;
        }
        let stat = fs::fstat(&fd).map_err(failed("stat"))?;
        self.set_attributes(&fd, &stat, entry)?;
        let path = join(parent, name);
        let made = Directory { fd, id: (stat.st_dev, stat.st_ino), set_gid: entry.mode & 0o2000 != 0 };
        self.set_times_at_end(&made, &path, times(entry));
        self.keep(&path, &Rc::new(made));
        Ok(())
    }

    fn make_hardlink(&mut self, directory: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        let target = clean(&entry.link);
        let (target_parent, target_name) =
            split(&target).ok_or_else(|| Error::unknown(format!("hard link to {}: not a file", shown(&entry.link))))?;
        let source = self.directory(target_parent)?;
        // A link to itself is one to what it replaces, and fails when that is gone: the same as in Go containerd.
        self.replacing(directory, name, || fs::linkat(&source.fd, target_name, &directory.fd, name, AtFlags::empty()))
            .map_err(|error| error.context(format!("hard link to {}", shown(&entry.link))))?;
        let stat = fs::statat(&directory.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat"))?;
        let (uid, gid) = self.owner(entry)?;
        if (stat.st_uid, stat.st_gid) != (uid, gid) {
            self.change_owner_of(directory, name, entry)?;
        }
        self.set_xattrs_of(directory, name, entry)?;
        let is_symlink = FileType::from_raw_mode(stat.st_mode) == FileType::Symlink;
        if !is_symlink && (stat.st_mode & 0o7777 != entry.mode || (stat.st_uid, stat.st_gid) != (uid, gid)) {
            change_mode_of(directory, name, entry)?;
        }
        let times = times(entry);
        let modified = times.last_modification;
        if (stat.st_mtime, i64::try_from(stat.st_mtime_nsec)) != (modified.tv_sec, Ok(modified.tv_nsec)) {
            set_times_of(directory, name, &times)?;
        }
        Ok(())
    }

    fn make_special(&mut self, directory: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        let kind = match entry.kind {
            Kind::CharDevice => FileType::CharacterDevice,
            Kind::BlockDevice => FileType::BlockDevice,
            _ => FileType::Fifo,
        };
        let (major, minor) = entry.device;
        let (Ok(major), Ok(minor)) = (u32::try_from(major), u32::try_from(minor)) else {
            return Err(Error::unknown(format!("device number {major}:{minor} out of range: invalid archive")));
        };
        let device = fs::makedev(major, minor);
        self.replacing(directory, name, || {
            fs::mknodat(&directory.fd, name, kind, Mode::from_raw_mode(entry.mode & 0o777), device)
        })?;
        self.change_owner_of(directory, name, entry)?;
        self.set_xattrs_of(directory, name, entry)?;
        change_mode_of(directory, name, entry)?;
        set_times_of(directory, name, &times(entry))
    }

    /// Owner, extended attributes and mode of an open file or directory, in this order: a change of owner clears
    /// set-id bits and capabilities.
    fn set_attributes(&self, fd: &OwnedFd, stat: &Stat, entry: &Entry) -> Result<()> {
        let (uid, gid) = self.owner(entry)?;
        let chowned = (stat.st_uid, stat.st_gid) != (uid, gid);
        if chowned {
            fs::fchown(fd, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid))).map_err(failed("change owner"))?;
        }
        for (name, value) in &entry.xattrs {
            self.set_xattr(name, entry.kind, || fs::fsetxattr(fd, &name[..], value, XattrFlags::empty()))?;
        }
        // An ACL among the attributes changes the mode, too.
        if chowned || !entry.xattrs.is_empty() || stat.st_mode & 0o7777 != entry.mode {
            fs::fchmod(fd, Mode::from_raw_mode(entry.mode)).map_err(failed("change mode"))?;
        }
        Ok(())
    }

    /// The entry's owner and group on disk.
    fn owner(&self, entry: &Entry) -> Result<(u32, u32)> {
        let id = |what: &str, id: u64, ranges: fn(&IdMap) -> &[IdRange]| {
            let known = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
            let known = known.ok_or_else(|| Error::unknown(format!("{what} {id} out of range")))?;
            match self.ids.map(ranges) {
                None | Some([]) => Ok(known),
                Some(ranges) => ranges.iter().find_map(|range| range.on_disk(known)).ok_or_else(|| {
                    Error::failed_precondition(format!("{what} {id} is not mapped in the user namespace"))
                }),
            }
        };
        Ok((id("uid", entry.uid, |ids| &ids.users)?, id("gid", entry.gid, |ids| &ids.groups)?))
    }

    /// Changes the owner of what was just made, unless it must be right: ours, in a directory that gives no group.
    pub(super) fn change_owner_of(&self, directory: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        let (uid, gid) = self.owner(entry)?;
        let ours = (process::geteuid().as_raw(), process::getegid().as_raw());
        let new = matches!(entry.kind, Kind::Symlink | Kind::CharDevice | Kind::BlockDevice | Kind::Fifo | Kind::File);
        if new && !directory.set_gid && ours == (uid, gid) {
            return Ok(());
        }
        let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
        fs::chownat(&directory.fd, name, Some(uid), Some(gid), AtFlags::SYMLINK_NOFOLLOW)
            .map_err(failed("change owner"))
    }

    fn set_xattrs_of(&self, directory: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
        if entry.xattrs.is_empty() {
            return Ok(());
        }
        // No call sets attributes relative to a directory; its /proc name does, and the link itself is not followed.
        let path = [format!("/proc/self/fd/{}/", directory.fd.as_fd().as_raw_fd()).as_bytes(), name].concat();
        for (key, value) in &entry.xattrs {
            self.set_xattr(key, entry.kind, || fs::lsetxattr(&path[..], &key[..], value, XattrFlags::empty()))?;
        }
        Ok(())
    }

    /// Sets an extended attribute, or leaves it out where Go containerd does: no `trusted` ones from an archive, and
    /// none where the file system or the kind of file has no room for it.
    fn set_xattr(&self, name: &[u8], kind: Kind, set: impl Fn() -> Result<(), Errno>) -> Result<()> {
        let ours =
            matches!(self.whiteouts, Whiteouts::Overlay { user_xattr: true }) && name.starts_with(b"user.overlay.");
        if name.starts_with(b"trusted.") || ours {
            tracing::warn!(name = %shown(name), "ignored extended attribute in archive");
            return Ok(());
        }
        match set() {
            Err(Errno::PERM) if name.starts_with(b"user.") && !matches!(kind, Kind::File | Kind::Directory) => Ok(()),
            Err(Errno::NOTSUP) => {
                tracing::warn!(name = %shown(name), "ignored extended attribute in archive: not supported here");
                Ok(())
            }
            result => {
                result.map_err(|errno| Error::io(format!("set extended attribute {}", shown(name)), errno.into()))
            }
        }
    }
}

/// From this size on a file gets its blocks before its data. For smaller ones it costs more than it saves.
const LARGE: u64 = 1 << 20;
/// How many bytes are reserved at a time, since an archive may promise more than it has.
const RESERVED: u64 = 16 << 20;

fn write_data(file: &OwnedFd, entry: &Entry, reader: &mut Reader<'_>, reserves: bool) -> Result<()> {
    let Some(parts) = &entry.sparse else {
        if !reserves || entry.size < LARGE {
            return write_part(file, entry.size, reader);
        }
        for start in (0..entry.size).step_by(RESERVED as usize) {
            let len = RESERVED.min(entry.size - start);
            // If there is no room the write says so.
            let _ = fs::fallocate(file, FallocateFlags::empty(), start, len);
            write_part(file, len, reader)?;
        }
        return Ok(());
    };
    for (offset, len) in parts.iter().filter(|(_, len)| *len > 0) {
        fs::seek(file, fs::SeekFrom::Start(*offset)).map_err(failed("seek"))?;
        write_part(file, *len, reader)?;
    }
    fs::ftruncate(file, entry.size).map_err(failed("set size"))
}

fn write_part(file: &OwnedFd, len: u64, reader: &mut Reader<'_>) -> Result<()> {
    let mut left = len;
    while left > 0 {
        let mut bytes = reader.data(left)?;
        left -= bytes.len() as u64;
        while !bytes.is_empty() {
            match rustix::io::write(file, bytes) {
                Ok(0) => return Err(Error::resource_exhausted("write: no room")),
                Ok(written) => bytes = &bytes[written..],
                Err(Errno::INTR) => {}
                Err(errno) => return Err(failed("write")(errno)),
            }
        }
    }
    Ok(())
}

fn change_mode_of(directory: &Directory, name: &[u8], entry: &Entry) -> Result<()> {
    // Not a link, the caller has seen to that.
    let mode = Mode::from_raw_mode(entry.mode);
    fs::chmodat(&directory.fd, name, mode, AtFlags::empty()).map_err(failed("change mode"))
}

fn set_times_of(directory: &Directory, name: &[u8], times: &Timestamps) -> Result<()> {
    fs::utimensat(&directory.fd, name, times, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("set times"))
}
