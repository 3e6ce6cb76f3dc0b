//! What a directory tree takes on disk.

use model::Usage;
use rustix::{
    fs::{self, AtFlags, CWD, FileType, Stat},
    io::Errno,
};
use std::{collections::HashSet, ffi::CString, io, path::Path};
use sys::root::Descent;

/// Counts the inodes and blocks of `root` and all below it, each inode once however many names it has.
///
/// A tree that changes meanwhile may be counted wrong but is never left; what vanishes is not counted.
pub(super) fn usage(root: &Path) -> io::Result<Usage> {
    let mut counter = Counter::default();
    counter.count(&fs::statat(CWD, root, AtFlags::SYMLINK_NOFOLLOW)?);
    let mut descent = Descent::begin(CWD, root)?;
    let mut pending = vec![counter.count_entries(&descent)?];
    while let Some(directories) = pending.last_mut() {
        match directories.pop() {
            Some(next) => match descent.enter(next) {
                Ok(()) => pending.push(counter.count_entries(&descent)?),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error),
            },
            None => {
                pending.pop();
                descent.leave()?;
            }
        }
    }
    Ok(counter.total)
}

#[derive(Default)]
struct Counter {
    total: Usage,
    /// Files with several names, by device and inode.
    seen: HashSet<(u64, u64)>,
}

impl Counter {
    /// Counts what is in a directory, and returns the directories.
    fn count_entries(&mut self, descent: &Descent) -> io::Result<Vec<CString>> {
        let mut directories = Vec::new();
        for (name, kind) in descent.list()? {
            match fs::statat(descent.dir(), &name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => self.count(&stat),
                Err(Errno::NOENT) => continue,
                Err(errno) => return Err(errno.into()),
            }
            if kind == FileType::Directory {
                directories.push(name);
            }
        }
        Ok(directories)
    }

    fn count(&mut self, stat: &Stat) {
        let directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if directory || stat.st_nlink == 1 || self.seen.insert((stat.st_dev, stat.st_ino)) {
            self.total.inodes += 1;
            // In units of 512 bytes, whatever the block size (stat(2)).
            self.total.size += u64::try_from(stat.st_blocks).unwrap_or(0) * 512;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hard_links_count_once_and_holes_take_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let empty = usage(dir.path()).unwrap();
        assert_eq!(empty.inodes, 1);
        std::fs::create_dir_all(dir.path().join("a/b")).unwrap();
        std::fs::write(dir.path().join("a/file"), vec![1; 10_000]).unwrap();
        std::fs::hard_link(dir.path().join("a/file"), dir.path().join("a/b/file")).unwrap();
        std::fs::File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("link")).unwrap();
        let full = usage(dir.path()).unwrap();
        assert_eq!(full.inodes, 1 + 2 + 1 + 1 + 1);
        assert!(full.size - empty.size >= 10_000 && full.size < 1 << 20, "{full:?}");
        assert!(usage(&dir.path().join("absent")).is_err());
    }
}
