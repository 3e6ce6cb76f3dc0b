//! Taking mounts down.

use super::Place;
use model::{Error, Mount, Result};
use rustix::{
    io::Errno,
    mount::{UnmountFlags, unmount},
};
use std::{
    ffi::OsString,
    fs, io,
    os::unix::ffi::OsStringExt as _,
    path::{Path, PathBuf},
    thread,
    time::Duration,
};

/// How to take a mount down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unmount {
    /// Only when nobody uses it; for a short while it is waited for.
    WhenIdle,
    /// Out of sight at once, for good when the last user is gone (`MNT_DETACH`).
    Detach,
}

/// Tries before a busy mount is an error, 50 ms apart: a process that was just killed lets go soon.
const TRIES: usize = 50;
const PAUSE: Duration = Duration::from_millis(50);

/// Takes down all mounts on `target`, however many lie on each other. One that is not there is no error.
pub fn unmount_all(target: &Path, how: Unmount) -> Result<()> {
    loop {
        match unmount_once(target, how) {
            Ok(()) => {}
            // EINVAL: not (or no longer) a mount point.
            Err(Errno::INVAL | Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(Error::io(format!("unmount {}", target.display()), errno.into())),
        }
    }
}

fn unmount_once(target: &Path, how: Unmount) -> Result<(), Errno> {
    // A target is never a link: were it one, somebody else put it there.
    let (flags, tries) = match how {
        Unmount::WhenIdle => (UnmountFlags::NOFOLLOW, TRIES),
        Unmount::Detach => (UnmountFlags::NOFOLLOW | UnmountFlags::DETACH, 1),
    };
    for _ in 1..tries {
        match unmount(target, flags) {
            Err(Errno::BUSY) => thread::sleep(PAUSE),
            result => return result,
        }
    }
    unmount(target, flags)
}

/// Takes down what [`mount_all`](super::mount_all) made of `mounts` on `target`, last first.
///
/// Goes on after an error and reports the first.
pub fn unmount_mounts(mounts: &[Mount], target: &Path, how: Unmount) -> Result<()> {
    let mut result = Ok(());
    for mount in mounts.iter().rev() {
        let done = Place::of(mount, target).and_then(|place| match place {
            Place::Target(path) => unmount_all(&path, how),
            // The path in /proc is a link itself, so the real one is needed, inside the target by now.
            Place::Below(_) => match fs::canonicalize(place.path()) {
                Ok(path) => {
                    drop(place);
                    unmount_all(&path, how)
                }
                Err(error) => Err(Error::io(format!("find mount target {:?}", mount.target), error)),
            },
        });
        result = result.and(done);
    }
    result
}

/// Takes down all mounts on `target` and below it, deepest first.
pub fn unmount_below(target: &Path, how: Unmount) -> Result<()> {
    let failed = |error| Error::io(format!("find mounts below {}", target.display()), error);
    let target = match fs::canonicalize(target) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        path => path.map_err(failed)?,
    };
    let mut points = mount_points(&fs::read("/proc/self/mountinfo").map_err(failed)?);
    points.retain(|point| point.starts_with(&target));
    points.sort_by_key(|point| std::cmp::Reverse(point.components().count()));
    points.dedup();
    // Not `try_fold`: one that stays mounted does not keep the others.
    let results: Vec<Result<()>> = points.iter().map(|point| unmount_all(point, how)).collect();
    results.into_iter().collect()
}

/// The mount points in a mountinfo: the fifth field, blanks and backslashes as octal escapes.
fn mount_points(mountinfo: &[u8]) -> Vec<PathBuf> {
    let field = |line: &[u8]| line.split(|byte| *byte == b' ').nth(4).map(unescape);
    mountinfo.split(|byte| *byte == b'\n').filter_map(field).collect()
}

fn unescape(field: &[u8]) -> PathBuf {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&byte, after)) = rest.split_first() {
        let escaped = (byte == b'\\').then(|| after.get(..3)).flatten();
        let octal = escaped.and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        path.push(octal.unwrap_or(byte));
        rest = if octal.is_some() { &after[3..] } else { after };
    }
    PathBuf::from(OsString::from_vec(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mount_points_are_unescaped() {
        let info = b"22 1 0:20 / /proc rw - proc proc rw\n23 1 0:21 / /a\\040b\\134c rw - tmpfs x rw\n";
        assert_eq!(mount_points(info), [Path::new("/proc"), Path::new("/a b\\c")]);
    }

    #[test]
    fn nothing_mounted_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        unmount_all(dir.path(), Unmount::WhenIdle).unwrap();
        unmount_all(&dir.path().join("absent"), Unmount::WhenIdle).unwrap();
        unmount_below(dir.path(), Unmount::Detach).unwrap();
    }
}
