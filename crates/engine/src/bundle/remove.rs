//! Removing a bundle: at once for those who look, and never what is mounted in it.

use super::Bundle;
use model::{Error, Result};
use rustix::mount::{UnmountFlags, unmount};
use std::{
    fs, io,
    os::unix::ffi::OsStringExt,
    path::{Path, PathBuf},
};

/// Unmounts the root filesystem and removes the bundle with its work directory. Absent is success.
///
/// # Errors
/// The first failure, after everything else that can go has gone. A root filesystem that is not
/// empty once nothing is mounted there is kept: somebody wrote into it.
pub(crate) fn remove(bundle: &Bundle) -> Result<()> {
    let rootfs = bundle.rootfs();
    remove_rootfs(&rootfs).map_err(|error| Error::io(format!("remove bundle rootfs {}", rootfs.display()), error))?;
    let bundle_gone = hide_and_remove(&bundle.path);
    let work_gone = hide_and_remove(&bundle.work);
    bundle_gone.and(work_gone)
}

fn remove_rootfs(rootfs: &Path) -> io::Result<()> {
    // A mount point is busy, so nothing is mounted where this succeeds, and nothing else need be looked up.
    match fs::remove_dir(rootfs) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::ResourceBusy => return Err(error),
        Err(_) => {}
        Ok(()) => return Ok(()),
    }
    for mount in mounts_below(rootfs)?.iter().rev() {
        unmount(mount, UnmountFlags::NOFOLLOW)
            .or_else(|_| unmount(mount, UnmountFlags::NOFOLLOW | UnmountFlags::DETACH))?;
    }
    fs::remove_dir(rootfs)
}

/// What is mounted at or below `path`, outermost first, in the kernel's order of mounting.
fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let path = fs::canonicalize(path.parent().unwrap_or(path))?.join(path.file_name().unwrap_or_default());
    let table = fs::read("/proc/self/mountinfo")?;
    let points = table.split(|&byte| byte == b'\n').filter_map(|line| line.split(|&byte| byte == b' ').nth(4));
    Ok(points.map(unescape).filter(|point| point.starts_with(&path)).collect())
}

/// Undoes the kernel's octal escapes (`\040` is a space).
fn unescape(text: &[u8]) -> PathBuf {
    let mut out = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((&byte, tail)) = rest.split_first() {
        if byte == b'\\'
            && let Some(digits) = tail.get(..3)
            && digits.iter().all(|digit| (b'0'..=b'7').contains(digit))
        {
            out.push(digits.iter().fold(0_u8, |value, digit| value.wrapping_mul(8).wrapping_add(digit - b'0')));
            rest = &tail[3..];
        } else {
            out.push(byte);
            rest = tail;
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(out))
}

/// Renames `path` to `.<name>` and removes that. Absent is success.
pub(super) fn hide_and_remove(path: &Path) -> Result<()> {
    let mut name = std::ffi::OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    let hidden = path.with_file_name(name);
    let failed = |error| Error::io(format!("remove {}", path.display()), error);
    if fs::symlink_metadata(&hidden).is_ok() {
        fs::remove_dir_all(&hidden).map_err(failed)?; // an earlier removal was interrupted
    }
    match fs::rename(path, &hidden) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(error)),
        Ok(()) => fs::remove_dir_all(&hidden).map_err(failed),
    }
}

/// Finishes interrupted removals in every namespace of `folder`; returns how many there were.
pub(crate) fn sweep_hidden(folder: &Path) -> usize {
    let entries = |path: &Path| fs::read_dir(path).into_iter().flatten().flatten().map(|entry| entry.path());
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let mut count = 0;
    for path in entries(folder).flat_map(|namespace| entries(&namespace)).filter(hidden) {
        count += 1;
        if let Err(error) = fs::remove_dir_all(&path) {
            tracing::warn!(path = %path.display(), %error, "leftover bundle cannot be removed");
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::mount::{MountFlags, mount, mount_bind};

    #[test]
    fn escapes_of_the_mount_table_are_undone() {
        assert_eq!(unescape(br"/a\040b\134c"), Path::new(r"/a b\c"));
        assert_eq!(unescape(br"/a\9"), Path::new(r"/a\9"));
    }

    #[test]
    fn a_mounted_rootfs_is_unmounted_not_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let (source, rootfs) = (folder.path().join("source"), folder.path().join("root fs"));
        fs::create_dir_all(source.join("inner")).unwrap();
        fs::write(source.join("precious"), "x").unwrap();
        fs::create_dir(&rootfs).unwrap();
        mount_bind(&source, &rootfs).unwrap();
        mount("tmpfs", rootfs.join("inner"), "tmpfs", MountFlags::empty(), None::<&std::ffi::CStr>).unwrap();
        remove_rootfs(&rootfs).unwrap();
        assert!(!rootfs.exists());
        assert_eq!(fs::read(source.join("precious")).unwrap(), b"x");

        fs::create_dir(&rootfs).unwrap();
        fs::write(rootfs.join("kept"), "x").unwrap();
        assert!(remove_rootfs(&rootfs).is_err(), "files in an unmounted rootfs are kept");
        assert!(rootfs.join("kept").exists());
    }
}
