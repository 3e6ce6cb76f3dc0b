//! Mounts for the length of one job.
//!
//! They are made on a fresh directory, copied into a descriptor and taken down there at once. What is left
//! is attached nowhere and ends with the descriptor, also if the process is killed: nothing to clean up.

use super::{Unmount, mount_all, unmount_mounts};
use model::{Error, Mount, Result};
use rustix::{
    fs::{self, CWD, Mode},
    io::Errno,
    mount::{OpenTreeFlags, open_tree},
};
use std::{
    env, io,
    os::fd::{AsRawFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

/// Mounts that only this process sees, until this is dropped.
#[derive(Debug)]
pub struct TempMount {
    /// Keeps the mounts; closing it ends them.
    _tree: OwnedFd,
    path: PathBuf,
}

impl TempMount {
    /// Makes `mounts`. The option `volatile` is left out: overlayfs refuses to mount such a directory again.
    pub fn new(mounts: &[Mount]) -> Result<Self> {
        let mut mounts = mounts.to_vec();
        for mount in mounts.iter_mut().filter(|mount| mount.fs_type == "overlay") {
            mount.options.retain(|option| option != "volatile" && option != "fsync=volatile");
        }
        let dir = make_dir().map_err(|error| Error::io("make a directory for temporary mounts", error))?;
        let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
        let tree = mount_all(&mounts, &dir).and_then(|()| {
            open_tree(CWD, &dir, flags).map_err(|errno| Error::io("hold temporary mounts", errno.into()))
        });
        let down = take_down(&mounts, &dir);
        let tree = tree?;
        down?;
        let path = PathBuf::from(format!("/proc/self/fd/{}", tree.as_raw_fd()));
        Ok(Self { _tree: tree, path })
    }

    /// The root of the mounts, a path that only this process understands.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// The same mounts, read-only: an overlay with its upper directory as its topmost lower one. Owners are not
/// shifted, since what is read is to be as it is on disk.
pub fn read_only(mounts: &[Mount]) -> Vec<Mount> {
    let mut mounts = mounts.to_vec();
    for mount in &mut mounts {
        if mount.fs_type == "overlay" {
            read_only_overlay(&mut mount.options);
        } else {
            mount.options.retain(|option| option != "rw" && option != "ro");
            mount.options.push("ro".into());
        }
    }
    mounts
}

fn read_only_overlay(options: &mut Vec<String>) {
    let upper = options.iter().find_map(|option| option.strip_prefix("upperdir=")).map(str::to_owned);
    let writable = ["upperdir=", "workdir=", "uidmap=", "gidmap="];
    options.retain(|option| !writable.iter().any(|prefix| option.starts_with(prefix)));
    let lower = options.iter_mut().find_map(|option| option.starts_with("lowerdir=").then_some(option));
    if let (Some(upper), Some(lower)) = (upper, lower) {
        lower.insert_str("lowerdir=".len(), &format!("{upper}:"));
    }
}

/// `Remove`, never `remove_dir_all`: if an unmount failed, what is below is not ours to delete.
fn take_down(mounts: &[Mount], dir: &Path) -> Result<()> {
    unmount_mounts(mounts, dir, Unmount::Detach)?;
    std::fs::remove_dir(dir).map_err(|error| Error::io(format!("remove {}", dir.display()), error))
}

/// A new directory that only we may enter, where containerd makes its own.
fn make_dir() -> io::Result<PathBuf> {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let base = env::var_os("XDG_RUNTIME_DIR").filter(|dir| !dir.is_empty()).map_or_else(env::temp_dir, PathBuf::from);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let dir = base.join(format!("containerd-mount{}-{number}", std::process::id()));
        match fs::mkdir(&dir, Mode::RWXU) {
            // Left by a process of the same number.
            Err(Errno::EXIST) => {}
            result => return result.map(|()| dir).map_err(Into::into),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_read_only_overlay_has_its_upper_layer_on_top_of_the_lower_ones() {
        let options = ["workdir=/w", "upperdir=/u", "uidmap=0:1:1", "gidmap=0:1:1", "lowerdir=/a:/b", "index=off"];
        let overlay =
            Mount { fs_type: "overlay".into(), options: options.map(String::from).into(), ..Mount::default() };
        let bind = Mount { fs_type: "bind".into(), options: vec!["rw".into(), "rbind".into()], ..Mount::default() };
        let mounts = read_only(&[overlay, bind]);
        assert_eq!(mounts[0].options, ["lowerdir=/u:/a:/b", "index=off"]);
        assert_eq!(mounts[1].options, ["rbind", "ro"]);
    }
}
