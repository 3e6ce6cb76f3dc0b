//! Directories that files of the archive are in, but that it has no entry for.

use super::tree::Tree;
use crate::layers::rooted::{Directory, failed, open_child, open_in};
use model::Result;
use rustix::{
    fs::{self, AtFlags, FileType, Mode},
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
            directory = match self.make_parent(&directory, name)? {
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

    fn make_parent(&mut self, parent: &Directory, name: &[u8]) -> Result<Made> {
        let is_implied = match fs::mkdirat(&parent.fd, name, Mode::from_raw_mode(MODE)) {
            Ok(()) => true,
            Err(Errno::EXIST) => {
                let stat = fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat"))?;
                if FileType::from_raw_mode(stat.st_mode) == FileType::Symlink {
                    let link = fs::readlinkat(&parent.fd, name, Vec::new()).map_err(failed("read link"))?;
                    return Ok(Made::Link(link.into_bytes()));
                }
                if !self.means_gone(&stat) {
                    return Ok(Made::No);
                }
                // A new one: nothing below shows through.
                self.make_directory_over_whiteout(parent, name, MODE)?;
                false
            }
            Err(errno) => return Err(failed("make parent directory")(errno)),
        };
        let fd = open_child(parent, name).map_err(failed("open directory"))?;
        let directory = Rc::new(Directory::new(fd).map_err(failed("stat"))?);
        // The umask does not count.
        fs::fchmod(&directory.fd, Mode::from_raw_mode(MODE)).map_err(failed("change mode"))?;
        self.mark_unpacked(parent, name);
        if is_implied {
            self.mark_implied(&directory.fd)?;
        }
        Ok(Made::Directory(directory))
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
