//! Making directory entries and whole trees durable, at the price of one sync for all who wait.
//!
//! A file's name is durable only when the directory that holds it is synced, and an unpacked layer only
//! when every file of it is. Both syncs write out more than one caller's changes, so callers that wait at
//! the same time can share one: a sync *begun* after my changes serves me, whoever began it.

use rustix::{
    fs::{self, Mode, OFlags},
    io,
};
use std::{
    fs::File,
    io::Result,
    path::Path,
    sync::{Condvar, Mutex, PoisonError},
};

/// Makes the entries of directory `path` durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    Ok(fs::fsync(open_dir(path)?)?)
}

fn open_dir(path: &Path) -> io::Result<rustix::fd::OwnedFd> {
    fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// What a [`SharedSync`] makes durable.
#[derive(Clone, Copy, Debug)]
enum Reach {
    /// The entries of one directory: `fsync(2)`.
    Directory,
    /// Everything in its file system: `syncfs(2)`.
    FileSystem,
}

/// A sync that concurrent callers share.
///
/// The descriptor stays open, so that a write-back error that happens between two syncs is reported by
/// the next one (the kernel reports errors to descriptors opened before them).
#[derive(Debug)]
pub struct SharedSync {
    dir: File,
    reach: Reach,
    turns: Mutex<Turns>,
    finished: Condvar,
}

/// Syncs are numbered in the order they begin; never two at a time.
#[derive(Debug, Default)]
struct Turns {
    begun: u64,
    finished: u64,
    /// The latest turn that failed, and its errno.
    failed: Option<(u64, io::Errno)>,
}

impl SharedSync {
    /// Shares `fsync` of directory `path`.
    pub fn directory(path: &Path) -> Result<Self> {
        Self::open(path, Reach::Directory)
    }

    /// Shares `syncfs` of the file system that holds directory `path`.
    pub fn file_system(path: &Path) -> Result<Self> {
        Self::open(path, Reach::FileSystem)
    }

    fn open(path: &Path, reach: Reach) -> Result<Self> {
        let dir = File::from(open_dir(path)?);
        Ok(Self { dir, reach, turns: Mutex::default(), finished: Condvar::new() })
    }

    /// Returns once a sync that began after this call has finished.
    ///
    /// # Errors
    /// Those of `fsync` or `syncfs`; each caller the failed sync would have served gets it.
    pub fn sync(&self) -> Result<()> {
        let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
        let mine = turns.begun + 1;
        while turns.finished < mine {
            if turns.begun > turns.finished {
                turns = self.finished.wait(turns).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            turns.begun += 1;
            let turn = turns.begun;
            drop(turns);
            let result = match self.reach {
                Reach::Directory => fs::fsync(&self.dir),
                Reach::FileSystem => fs::syncfs(&self.dir),
            };
            turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            turns.finished = turn;
            if let Err(errno) = result {
                turns.failed = Some((turn, errno));
            }
            self.finished.notify_all();
        }
        match turns.failed {
            Some((turn, errno)) if turn >= mine => Err(errno.into()),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    #[test]
    fn waiting_callers_share_syncs_and_none_is_left_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let shared = SharedSync::directory(dir.path()).unwrap();
        thread::scope(|scope| {
            for worker in 0..16 {
                let (shared, dir) = (&shared, dir.path());
                scope.spawn(move || {
                    for turn in 0..20 {
                        std::fs::write(dir.join(format!("{worker}-{turn}")), "x").unwrap();
                        shared.sync().unwrap();
                    }
                });
            }
        });
        let turns = shared.turns.lock().unwrap();
        assert_eq!(turns.begun, turns.finished);
        assert!(turns.finished <= 320, "{turns:?}");
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(SharedSync::file_system(file.path()).is_err());
        assert!(sync_dir(file.path()).is_err());
    }
}
