//! Removes what a layer deletes or replaces.

use super::tree::Tree;
use crate::layers::rooted::{Directory, MAX_DEPTH, failed, open_child};
use model::{Error, Result};
use rustix::{
    fs::{self, AtFlags, Dir, FileType},
    io::Errno,
};

/// A directory being emptied.
struct Level {
    entries: Dir,
    id: (u64, u64),
    /// In the level above.
    name: Vec<u8>,
    /// Whether it goes once it is empty.
    removable: bool,
    /// Whether something in it stays.
    kept: bool,
}

impl Level {
    fn open(parent: &Directory, name: &[u8], removable: bool) -> Result<Self> {
        let fd = open_child(parent, name).map_err(failed("open directory to remove"))?;
        Self::new(&Directory::new(fd).map_err(failed("stat"))?, name, removable)
    }

    fn new(directory: &Directory, name: &[u8], removable: bool) -> Result<Self> {
        let entries = Dir::read_from(&directory.fd).map_err(failed("read directory to remove"))?;
        Ok(Self { entries, id: directory.id, name: name.to_vec(), removable, kept: false })
    }
}

impl Tree<'_> {
    /// Removes `name` from `parent`, with all that is in it.
    pub(super) fn remove(&mut self, parent: &Directory, name: &[u8]) -> Result<()> {
        match fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("stat")(errno)),
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => self.forget_paths(),
                FileType::Symlink => {
                    self.forget_paths();
                    return fs::unlinkat(&parent.fd, name, AtFlags::empty()).map_err(failed("remove"));
                }
                _ => return fs::unlinkat(&parent.fd, name, AtFlags::empty()).map_err(failed("remove")),
            },
        }
        self.empty(Level::open(parent, name, true)?, false)?;
        fs::unlinkat(&parent.fd, name, AtFlags::REMOVEDIR).map_err(failed("remove directory"))
    }

    /// Removes everything in `directory` that this layer has not made.
    pub(super) fn remove_what_was_there(&mut self, directory: &Directory) -> Result<()> {
        self.forget_paths();
        self.empty(Level::new(directory, b"", false)?, true)
    }

    fn empty(&self, top: Level, keep_unpacked: bool) -> Result<()> {
        let mut levels = vec![top];
        while let Some(level) = levels.last_mut() {
            let Some(entry) = level.entries.next() else {
                let Some(done) = levels.pop() else { break };
                if let Some(above) = levels.last_mut() {
                    if done.kept || !done.removable {
                        above.kept = true;
                    } else {
                        let above = above.entries.fd().map_err(failed("remove directory"))?;
                        fs::unlinkat(above, &done.name, AtFlags::REMOVEDIR).map_err(failed("remove directory"))?;
                    }
                }
                continue;
            };
            let entry = entry.map_err(failed("read directory to remove"))?;
            let name = entry.file_name().to_bytes();
            if matches!(name, b"." | b"..") {
                continue;
            }
            let unpacked = keep_unpacked && self.is_unpacked(level.id, name);
            let fd = level.entries.fd().map_err(failed("read directory to remove"))?;
            let is_directory = match entry.file_type() {
                FileType::Unknown => {
                    let stat = fs::statat(fd, name, AtFlags::SYMLINK_NOFOLLOW).map_err(failed("stat"))?;
                    FileType::from_raw_mode(stat.st_mode) == FileType::Directory
                }
                known => known == FileType::Directory,
            };
            if is_directory {
                let fd = fs::openat(
                    fd,
                    name,
                    fs::OFlags::DIRECTORY | fs::OFlags::NOFOLLOW | fs::OFlags::CLOEXEC,
                    fs::Mode::empty(),
                )
                .map_err(failed("open directory to remove"))?;
                let directory = Directory::new(fd).map_err(failed("stat"))?;
                let below = Level::new(&directory, name, !unpacked)?;
                if levels.len() >= MAX_DEPTH {
                    let message = format!("remove directory: more than {MAX_DEPTH} levels deep");
                    return Err(Error::failed_precondition(message));
                }
                levels.push(below);
            } else if unpacked {
                level.kept = true;
            } else {
                fs::unlinkat(fd, name, AtFlags::empty()).map_err(failed("remove"))?;
            }
        }
        Ok(())
    }
}
