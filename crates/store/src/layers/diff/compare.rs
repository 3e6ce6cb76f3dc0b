//! Whether a file of the upper tree is still the one of the lower tree (continuity's `fs.Changes`).

use super::file::File;
use crate::layers::rooted::failed;
use model::Result;
use rustix::{fd::OwnedFd, fs::FileType, io::Errno};

/// Whether nothing that a layer records differs. What differs only in the times of a directory does not.
pub(super) fn same(lower: &File<'_>, upper: &File<'_>) -> Result<bool> {
    let (one, other) = (&lower.stat, &upper.stat);
    if (one.st_dev, one.st_ino) == (other.st_dev, other.st_ino) {
        return Ok(true);
    }
    let attributes = |stat: &rustix::fs::Stat| (stat.st_mode, stat.st_uid, stat.st_gid, stat.st_rdev);
    if attributes(one) != attributes(other) || lower.xattrs()? != upper.xattrs()? {
        return Ok(false);
    }
    if upper.is_directory() {
        return Ok(true);
    }
    let times = |stat: &rustix::fs::Stat| (stat.st_mtime, stat.st_mtime_nsec);
    if one.st_size != other.st_size || times(one) != times(other) {
        return Ok(false);
    }
    // Whole seconds may be what an archive left of the time: only the contents tell then.
    if one.st_mtime_nsec != 0 {
        return Ok(true);
    }
    match upper.file_type() {
        FileType::Symlink => Ok(lower.read_link()? == upper.read_link()?),
        FileType::RegularFile if upper.stat.st_size > 0 => same_contents(&lower.open()?, &upper.open()?),
        _ => Ok(true),
    }
}

fn same_contents(one: &OwnedFd, other: &OwnedFd) -> Result<bool> {
    let (mut left, mut right) = (vec![0; 64 << 10], vec![0; 64 << 10]);
    loop {
        let len = fill(one, &mut left)?;
        if len != fill(other, &mut right)? || left[..len] != right[..len] {
            return Ok(false);
        }
        if len < left.len() {
            return Ok(true);
        }
    }
}

fn fill(file: &OwnedFd, buffer: &mut [u8]) -> Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match rustix::io::read(file, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(len) => filled += len,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed("read")(errno)),
        }
    }
    Ok(filled)
}
