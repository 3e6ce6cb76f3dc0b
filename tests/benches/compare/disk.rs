//! The disk that both sides write to: an ext4 of its own, with a journal, in a file.
//!
//! The machine's own file system may have any history. One without a journal, as virtual machines like to have, does
//! not use an inode again for minutes after it was deleted, and finds that out one inode at a time for each file that is
//! made: each round would pay for the deletions of those before it, several times what the files themselves cost.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::Command,
};
use tempfile::TempDir;

/// In bytes; the file is as large as what was written to it.
const SIZE: u64 = 24 << 30;

/// Mounted until it is dropped.
pub(crate) struct Disk {
    image: PathBuf,
    device: String,
    mounted: TempDir,
}

impl Disk {
    /// Makes the file in `folder`.
    pub(crate) fn new(folder: &Path) -> Self {
        let image = folder.join("bench-disk.ext4");
        File::create(&image).and_then(|file| file.set_len(SIZE)).expect("make the disk's file");
        // All of it is initialised now, rather than by the kernel in the middle of a round.
        let whole = ["-q", "-E", "lazy_itable_init=0,lazy_journal_init=0"];
        run(Command::new("mkfs.ext4").args(whole).arg(&image));
        // Direct: what is written is not cached once more in the file.
        let device = run(Command::new("losetup").args(["--find", "--show", "--direct-io=on"]).arg(&image));
        let mounted = tempfile::Builder::new().prefix("bench-").tempdir().expect("make a temporary directory");
        let disk = Self { image, device, mounted };
        run(Command::new("mount").arg(&disk.device).arg(disk.path()));
        disk
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> &Path {
        self.mounted.path()
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // While a benchmark fails its daemons may hold on to it: then it goes with the last of them.
        let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
        let _ = Command::new("losetup").arg("--detach").arg(&self.device).status();
        let _ = fs::remove_file(&self.image);
    }
}

/// What `command` prints.
fn run(command: &mut Command) -> String {
    let output = command.output().unwrap_or_else(|error| panic!("start {command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}
