//! Walking a directory tree of any depth with one descriptor.
//!
//! A container may nest directories without end. A walk that recursed would overflow the stack there, one
//! that kept every directory on the way open would use up the process's descriptors. This one goes back up
//! through `..`, and checks that it comes out where it went in.

use rustix::{
    fd::{AsFd, BorrowedFd, OwnedFd},
    fs::{self, Dir, FileType, Mode, OFlags},
    io::Errno,
    path::Arg,
};
use std::{ffi::CString, io};

const FLAGS: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// A place in a tree. Links are never followed.
#[derive(Debug)]
pub struct Descent {
    current: OwnedFd,
    above: Vec<Above>,
}

/// The way back: a directory above, and the name of the one below in it.
#[derive(Debug)]
struct Above {
    identity: (u64, u64),
    name: CString,
}

impl Descent {
    /// Begins at directory `name` in `dir`.
    pub fn begin(dir: impl AsFd, name: impl Arg) -> io::Result<Self> {
        Ok(Self { current: fs::openat(dir, name, FLAGS, Mode::empty())?, above: Vec::new() })
    }

    /// The directory it is at, readable.
    pub fn dir(&self) -> BorrowedFd<'_> {
        self.current.as_fd()
    }

    /// How many directories it is below where it began.
    pub fn depth(&self) -> usize {
        self.above.len()
    }

    /// The names in the directory it is at, with their kinds (never `Unknown`), but `.` and `..`.
    pub fn list(&self) -> io::Result<Vec<(CString, FileType)>> {
        let mut list = Vec::new();
        for entry in Dir::read_from(&self.current)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            let kind = match entry.file_type() {
                FileType::Unknown => match fs::statat(&self.current, name, fs::AtFlags::SYMLINK_NOFOLLOW) {
                    Ok(stat) => FileType::from_raw_mode(stat.st_mode),
                    Err(Errno::NOENT) => continue,
                    Err(errno) => return Err(errno.into()),
                },
                kind => kind,
            };
            list.push((name.to_owned(), kind));
        }
        Ok(list)
    }

    /// Goes down to directory `name`.
    pub fn enter(&mut self, name: CString) -> io::Result<()> {
        let below = fs::openat(&self.current, &name, FLAGS, Mode::empty())?;
        let identity = identity(&self.current)?;
        self.above.push(Above { identity, name });
        self.current = below;
        Ok(())
    }

    /// Goes back up, and returns the name of the directory it was at; `None` where it began.
    ///
    /// # Errors
    /// `Other` if that directory was moved elsewhere meanwhile.
    pub fn leave(&mut self) -> io::Result<Option<CString>> {
        let Some(Above { identity: expected, name }) = self.above.pop() else { return Ok(None) };
        let parent = fs::openat(&self.current, c"..", FLAGS, Mode::empty())?;
        if identity(&parent)? != expected {
            return Err(io::Error::other(format!("directory {name:?} was moved while its tree was walked")));
        }
        self.current = parent;
        Ok(Some(name))
    }
}

fn identity(dir: &OwnedFd) -> io::Result<(u64, u64)> {
    let stat = fs::fstat(dir)?;
    Ok((stat.st_dev, stat.st_ino))
}
