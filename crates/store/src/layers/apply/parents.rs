//! Directories that files of the archive are in, but that it has no entry for.

use super::tree::Tree;
use crate::layers::{
    rooted::{Directory, failed, open_child, open_in},
    xattr,
};
use model::Result;
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, FileType, Gid, Mode, Stat, Timespec, Timestamps, Uid, XattrFlags},
    io::Errno,
};
use std::rc::Rc;

/// Symbolic links to nowhere followed, as many as the kernel follows in a path.
const MAX_LINKS: usize = 40;
const MODE: u32 = 0o755;

impl Tree<'_> {
    /// The directory `path`, resolved inside the root; what is missing of it is made.
    ///
    /// `path` may contain `..` if it is of a link: only the kernel knows what that means there.
    pub(super) fn make_parents(&mut self, path: &[u8], links: usize) -> Result<Rc<Directory>> {
        let errno = match open_in(&self.root.fd, path) {
            Ok(fd) => return Directory::new(fd).map(Rc::new).map_err(failed("stat")),
            Err(errno) => errno,
        };
        if !matches!(errno, Errno::NOENT | Errno::NOTDIR) || links > MAX_LINKS {
            return Err(failed("open directory")(errno));
        }
        let ends = ends(path);
        // How many of its parts exist: if one does not, no longer path does.
        let exists = |end: &usize| open_in(&self.root.fd, &path[..*end]).is_ok();
        let existing = ends.partition_point(exists);
        let mut start = existing.checked_sub(1).map_or(0, |last| ends[last]);
        let mut directory = match start {
            0 => Rc::clone(&self.root),
            end => open_in(&self.root.fd, &path[..end])
                .and_then(Directory::new)
                .map(Rc::new)
                .map_err(failed("open directory"))?,
        };
        for end in &ends[existing..] {
            let name = part(&path[start..*end]);
            if matches!(name, b"." | b"..") {
                // What is before it exists now.
                return self.make_parents(path, links + 1);
            }
            directory = match self.make_parent(&directory, &path[..*end], name)? {
                Made::Directory(made) => made,
                Made::No => return Err(failed("open directory")(Errno::NOTDIR)),
                // A link to nowhere: what it names is made, and the rest in it.
                Made::Link(link) => {
                    let above: &[u8] = if link.starts_with(b"/") { b"" } else { &path[..start] };
                    let target = [above, b"/", &link, &path[*end..]].concat();
                    return self.make_parents(&target, links + 1);
                }
            };
            start = *end;
        }
        Ok(directory)
    }

    fn make_parent(&mut self, parent: &Directory, path: &[u8], name: &[u8]) -> Result<Made> {
        match fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(MODE)) {
            Ok(()) => {}
            Err(Errno::EXIST) => {
                let stat = fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat"))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                    let link = fs::readlinkat(&parent.fd, name, Vec::new()).map_err(failed("read link"))?;
                    return Ok(Made::Link(link.into_bytes()));
                }
                if !self.is_whiteout(&stat) {
                    return Ok(Made::No);
                }
                self.make_directory_over_whiteout(parent, name, MODE)?;
            }
            Err(errno) => return Err(failed("make parent directory")(errno)),
        }
        let fd = open_child(parent, name).map_err(failed("open directory"))?;
        let directory = Rc::new(Directory::new(fd).map_err(failed("stat"))?);
        // The umask does not count.
        fs::fchmod(&directory.fd, Mode::from_raw_mode(MODE)).map_err(failed("change mode"))?;
        self.mark_unpacked(parent, name);
        if let Some(times) = self.inherit(path, &directory)? {
            self.set_times_at_end(path, times);
        }
        Ok(Made::Directory(directory))
    }

    /// Gives a directory that the archive has no entry for the attributes it has in the layers below, which an
    /// overlay would otherwise hide. Returns the times to give it, if there is such a directory.
    fn inherit(&self, path: &[u8], made: &Directory) -> Result<Option<Timestamps>> {
        for lower in &self.lowers {
            let fd = match open_in(lower, path) {
                Ok(fd) => fd,
                Err(Errno::NOENT) => continue,
                // Replaced or deleted there: what is further below does not show.
                Err(Errno::NOTDIR | Errno::LOOP) => return Ok(None),
                Err(errno) => return Err(failed("open lower directory")(errno)),
            };
            let stat = fs::fstat(&fd).map_err(failed("stat lower directory"))?;
            let (uid, gid) = (Uid::from_raw(stat.st_uid), Gid::from_raw(stat.st_gid));
            fs::fchown(&made.fd, Some(uid), Some(gid)).map_err(failed("change owner"))?;
            copy_xattrs(&fd, &made.fd)?;
            fs::fchmod(&made.fd, Mode::from_raw_mode(stat.st_mode & 0o7777)).map_err(failed("change mode"))?;
            return Ok(Some(stat_times(&stat)));
        }
        Ok(None)
    }
}

enum Made {
    Directory(Rc<Directory>),
    Link(Vec<u8>),
    /// Something else is there.
    No,
}

/// Where each part of `path` ends.
fn ends(path: &[u8]) -> Vec<usize> {
    let is_end = |at: &usize| path[at - 1] != b'/' && path.get(*at).is_none_or(|next| *next == b'/');
    (1..=path.len()).filter(is_end).collect()
}

/// A part of a path without the slashes before it.
fn part(slashed: &[u8]) -> &[u8] {
    slashed.iter().position(|byte| *byte != b'/').map_or(b"", |start| &slashed[start..])
}

fn stat_times(stat: &Stat) -> Timestamps {
    let spec = |seconds, nanos| Timespec { tv_sec: seconds, tv_nsec: i64::try_from(nanos).unwrap_or(0) };
    Timestamps {
        last_access: spec(stat.st_atime, stat.st_atime_nsec),
        last_modification: spec(stat.st_mtime, stat.st_mtime_nsec),
    }
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
        match fs::fsetxattr(to, &name[..], &value, XattrFlags::CREATE) {
            Ok(()) | Err(Errno::NOTSUP | Errno::NODATA | Errno::EXIST) => {}
            Err(errno) => return Err(failed("copy extended attribute")(errno)),
        }
    }
    Ok(())
}
