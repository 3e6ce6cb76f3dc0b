//! Copying a directory tree so that nobody can tell the copy from the original: owners, permissions, times,
//! extended attributes, devices, hard links and holes.

use rustix::{
    fs::{self, FileType, SeekFrom, Stat, Timespec},
    io::Errno,
};
use std::{
    collections::HashMap,
    fs::File,
    io::{self, ErrorKind, Read as _, Seek as _},
    path::{Path, PathBuf},
};
use sys::root::{Entry, Root};

/// Copies what is in directory `from` into directory `to`, which is empty, and the attributes of `from` itself.
///
/// Nothing may change `from` meanwhile. Blocks are shared where the file system can.
pub(super) fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    let (from, to) = (Root::open(from)?, Root::open(to)?);
    let mut links = Links::default();
    let mut done = Vec::new();
    let mut pending = vec![PathBuf::new()];
    while let Some(dir) = pending.pop() {
        for (name, _) in from.entry(&dir)?.list()? {
            let path = dir.join(name);
            let (source, target) = (from.entry(&path)?, to.entry(&path)?);
            let stat = source.stat()?;
            if FileType::from_raw_mode(stat.st_mode) == FileType::Directory {
                target.mkdir(0o700)?;
                pending.push(path);
            } else if let Some(first) = links.first_name(&stat, &path) {
                target.link(&to.entry(first)?)?;
            } else {
                copy_node(&source, &target, &stat)?;
                copy_attributes(&source, &target, &stat)?;
            }
        }
        done.push(dir);
    }
    // A directory's times change as it is filled, and its permissions may forbid it; so these come last.
    for dir in done.iter().rev() {
        let (source, target) = (from.entry(dir)?, to.entry(dir)?);
        copy_attributes(&source, &target, &source.stat()?)?;
    }
    Ok(())
}

/// The first name met of each file that has several.
#[derive(Default)]
struct Links(HashMap<(u64, u64), PathBuf>);

impl Links {
    /// The name under which this file was copied already, if it was.
    fn first_name(&mut self, stat: &Stat, path: &Path) -> Option<PathBuf> {
        if stat.st_nlink < 2 {
            return None;
        }
        let first = self.0.entry((stat.st_dev, stat.st_ino)).or_insert_with(|| path.to_owned());
        (*first != path).then(|| first.clone())
    }
}

fn copy_node(source: &Entry<'_>, target: &Entry<'_>, stat: &Stat) -> io::Result<()> {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => copy_contents(&mut source.open()?, &mut target.create(0o600)?),
        FileType::Symlink => target.symlink(source.read_link()?),
        kind => target.mknod(kind, 0o600, stat.st_rdev),
    }
}

/// Shares the blocks, or else copies what is not a hole.
fn copy_contents(source: &mut File, target: &mut File) -> io::Result<()> {
    if fs::ioctl_ficlone(&*target, &*source).is_ok() {
        return Ok(());
    }
    let len = source.metadata()?.len();
    target.set_len(len)?;
    let mut offset = 0;
    while offset < len {
        let start = match fs::seek(&*source, SeekFrom::Data(offset)) {
            Ok(start) => start,
            // Nothing but a hole to the end.
            Err(Errno::NXIO) => break,
            Err(errno) => return Err(errno.into()),
        };
        let end = fs::seek(&*source, SeekFrom::Hole(start))?;
        source.seek(io::SeekFrom::Start(start))?;
        target.seek(io::SeekFrom::Start(start))?;
        // Between files the standard library has the kernel copy.
        if io::copy(&mut source.by_ref().take(end - start), target)? == 0 {
            break;
        }
        offset = end;
    }
    Ok(())
}

fn copy_attributes(source: &Entry<'_>, target: &Entry<'_>, stat: &Stat) -> io::Result<()> {
    target.chown(stat.st_uid, stat.st_gid)?;
    for name in source.xattrs()? {
        let Some(value) = source.xattr(&name)? else { continue };
        match target.set_xattr(&name, &value) {
            // Security modules guard their labels, and label new files by themselves.
            Err(error)
                if name.as_encoded_bytes().starts_with(b"security.") || error.kind() == ErrorKind::Unsupported =>
            {
                tracing::debug!(?name, %error, "an extended attribute is not copied");
            }
            result => result?,
        }
    }
    // After chown, which clears set-id bits. Links have no permissions.
    if FileType::from_raw_mode(stat.st_mode) != FileType::Symlink {
        target.chmod(stat.st_mode)?;
    }
    let accessed = Timespec { tv_sec: stat.st_atime, tv_nsec: nanoseconds(stat.st_atime_nsec) };
    let modified = Timespec { tv_sec: stat.st_mtime, tv_nsec: nanoseconds(stat.st_mtime_nsec) };
    target.set_times(accessed, modified)
}

/// The kernel's are below 10^9; the types differ between machines.
fn nanoseconds(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or(0)
}
