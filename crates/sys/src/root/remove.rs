//! Removing a directory tree of any depth.

use super::descent::Descent;
use rustix::{
    fd::BorrowedFd,
    fs::{AtFlags, FileType, unlinkat},
    io::Errno,
    path::Arg,
};
use std::{
    ffi::{CString, OsStr},
    io,
};

/// Removes directory `name` in `dir` and all below it. What others remove meanwhile is no error, what they
/// add is.
pub(super) fn remove_tree(dir: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    let mut descent = Descent::begin(dir, name)?;
    // For each level the directories still to be emptied.
    let mut pending = vec![clear(&descent)?];
    loop {
        if let Some(next) = pending.last_mut().and_then(Vec::pop) {
            match descent.enter(next) {
                Ok(()) => pending.push(clear(&descent)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            }
            continue;
        }
        pending.pop();
        match descent.leave()? {
            Some(emptied) => unlink(descent.dir(), &emptied, AtFlags::REMOVEDIR)?,
            None => return unlink(dir, name, AtFlags::REMOVEDIR),
        }
    }
}

/// Removes all but directories, which are returned.
fn clear(descent: &Descent) -> io::Result<Vec<CString>> {
    let mut directories = Vec::new();
    for (name, kind) in descent.list()? {
        if kind == FileType::Directory {
            directories.push(name);
        } else {
            unlink(descent.dir(), &name, AtFlags::empty())?;
        }
    }
    Ok(directories)
}

fn unlink(dir: BorrowedFd<'_>, name: impl Arg, flags: AtFlags) -> io::Result<()> {
    match unlinkat(dir, name, flags) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno.into()),
    }
}
