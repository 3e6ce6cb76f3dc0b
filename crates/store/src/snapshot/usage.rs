//! What a directory tree takes on disk.

use model::Usage;
use rustix::{
    fd::OwnedFd,
    fs::{self, AtFlags, CWD, Dir, FileType, Mode, OFlags, Stat},
    io::Errno,
};
use std::{collections::HashSet, ffi::CString, io, os::unix::ffi::OsStrExt as _, path::Path, sync::Arc};

/// Counts the inodes and blocks of `root` and all below it, each inode once however many names it has.
///
/// Every directory is opened from the one above without following links, so a tree that changes meanwhile may
/// be counted wrong but never left. What vanishes meanwhile is not counted.
pub(super) fn usage(root: &Path) -> io::Result<Usage> {
    let root = CString::new(root.as_os_str().as_bytes())?;
    let mut counter = Counter::default();
    counter.count(&fs::statat(CWD, &root, AtFlags::SYMLINK_NOFOLLOW)?);
    // Descriptors are open for the directories on the way to the current one only.
    let mut pending: Vec<(Option<Arc<OwnedFd>>, CString)> = vec![(None, root)];
    while let Some((parent, name)) = pending.pop() {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = match &parent {
            Some(parent) => fs::openat(parent, &name, flags, Mode::empty()),
            None => fs::open(&name, flags, Mode::empty()),
        };
        let dir = match opened {
            Ok(dir) => Arc::new(dir),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) if parent.is_some() => continue,
            Err(errno) => return Err(errno.into()),
        };
        for entry in Dir::read_from(&dir)? {
            let entry = entry?;
            let name = entry.file_name();
            if name == c"." || name == c".." {
                continue;
            }
            match fs::statat(&dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => {
                    counter.count(&stat);
                    if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                        pending.push((Some(Arc::clone(&dir)), name.to_owned()));
                    }
                }
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(errno.into()),
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
