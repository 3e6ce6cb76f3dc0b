//! Removes what a layer deletes or replaces, however deep it goes.

use super::tree::Tree;
use crate::layers::rooted::{Directory, failed};
use model::{Error, Result};
use rustix::{
    fs::{self, AtFlags, FileType},
    io::Errno,
};
use std::{ffi::CString, io};
use sys::root::Descent;

/// What of a tree goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Going {
    /// Everything.
    All,
    /// What the layer being unpacked has not made.
    WhatWasThere,
}

/// A directory being emptied.
struct Level {
    id: (u64, u64),
    /// Directories in it that were not entered yet.
    directories: Vec<CString>,
    /// Whether it goes once it is empty.
    removable: bool,
    /// Whether something in it stays.
    kept: bool,
}

impl Tree<'_> {
    /// Removes `name` from `parent`, with all that is in it.
    pub(super) fn remove(&mut self, parent: &Directory, name: &[u8]) -> Result<()> {
        let flags = match fs::statat(&parent.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed("stat")(errno)),
            Ok(stat) => match FileType::from_raw_mode(stat.st_mode) {
                FileType::Directory => {
                    self.forget_paths();
                    let at = Descent::begin(&parent.fd, name);
                    at.and_then(|at| self.empty(at, Going::All)).map_err(not_removed)?;
                    AtFlags::REMOVEDIR
                }
                FileType::Symlink => {
                    self.forget_paths();
                    AtFlags::empty()
                }
                _ => AtFlags::empty(),
            },
        };
        fs::unlinkat(&parent.fd, name, flags).map_err(failed("remove"))?;
        self.forget_name(parent.id, name);
        Ok(())
    }

    /// Removes everything in `directory` that this layer has not made.
    pub(super) fn remove_what_was_there(&mut self, directory: &Directory) -> Result<()> {
        self.forget_paths();
        let at = Descent::begin(&directory.fd, ".");
        at.and_then(|at| self.empty(at, Going::WhatWasThere)).map_err(not_removed)
    }

    fn empty(&mut self, mut at: Descent, going: Going) -> io::Result<()> {
        let mut levels = vec![self.clear(&at, going, false)?];
        while let Some(level) = levels.last_mut() {
            if let Some(name) = level.directories.pop() {
                let unpacked = going == Going::WhatWasThere && self.is_unpacked(level.id, name.to_bytes());
                at.enter(name)?;
                let below = self.clear(&at, going, !unpacked)?;
                levels.push(below);
                continue;
            }
            let Some(done) = levels.pop() else { break };
            if going == Going::All {
                self.forget_directory(done.id);
            }
            let Some(name) = at.leave()? else { break };
            let Some(above) = levels.last_mut() else { break };
            if done.kept || !done.removable {
                above.kept = true;
            } else {
                fs::unlinkat(at.dir(), &name, AtFlags::REMOVEDIR)?;
                self.forget_name(above.id, name.to_bytes());
            }
        }
        Ok(())
    }

    /// Removes all but directories from where `at` is.
    fn clear(&mut self, at: &Descent, going: Going, removable: bool) -> io::Result<Level> {
        let stat = fs::fstat(at.dir())?;
        let id = (stat.st_dev, stat.st_ino);
        let mut level = Level { id, directories: Vec::new(), removable, kept: false };
        for (name, kind) in at.list()? {
            if kind == FileType::Directory {
                level.directories.push(name);
            } else if going == Going::WhatWasThere && self.is_unpacked(id, name.to_bytes()) {
                level.kept = true;
            } else {
                fs::unlinkat(at.dir(), &name, AtFlags::empty())?;
                self.forget_name(id, name.to_bytes());
            }
        }
        Ok(level)
    }
}

fn not_removed(error: io::Error) -> Error {
    Error::io("remove directory", error)
}
