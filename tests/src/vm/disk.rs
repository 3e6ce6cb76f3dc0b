//! A disk image with ext4 on it, mounted on this machine to see what a power cut left.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A sparse image file, removed when dropped.
#[derive(Debug)]
pub struct Disk {
    dir: TempDir,
}

impl Disk {
    /// An empty ext4 file system of `size` bytes.
    #[must_use]
    pub fn ext4(size: u64) -> Self {
        let disk = Self::blank();
        File::create(disk.path()).and_then(|file| file.set_len(size)).expect("make a disk image");
        run(Command::new("mke2fs").args(["-q", "-t", "ext4", "-E", "lazy_itable_init=0"]).arg(disk.path()));
        disk
    }

    /// A copy that takes only the blocks in use.
    #[must_use]
    pub fn copy_of(other: &Path) -> Self {
        let disk = Self::blank();
        run(Command::new("cp").arg("--sparse=always").arg(other).arg(disk.path()));
        disk
    }

    fn blank() -> Self {
        Self { dir: tempfile::Builder::new().prefix("disk-").tempdir().expect("make a temporary directory") }
    }

    /// The image file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.dir.path().join("disk.img")
    }

    /// Mounts it: the file system replays its journal, as it would after a power cut.
    #[must_use]
    pub fn mount(&self) -> Mounted<'_> {
        let point = self.dir.path().join("mnt");
        std::fs::create_dir_all(&point).expect("make a mount point");
        run(Command::new("mount").args(["-o", "loop"]).arg(self.path()).arg(&point));
        Mounted { _disk: self, point }
    }
}

/// A mounted disk; unmounted when dropped.
#[derive(Debug)]
pub struct Mounted<'a> {
    _disk: &'a Disk,
    point: PathBuf,
}

impl Mounted<'_> {
    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.point
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        // Lazy: a test that failed may have left something open below it.
        let status = Command::new("umount").arg("-l").arg(&self.point).status();
        assert!(std::thread::panicking() || status.is_ok_and(|status| status.success()), "umount the disk");
    }
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?} ended with {status}");
}
