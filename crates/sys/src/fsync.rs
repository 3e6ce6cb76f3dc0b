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
    fs::{DirBuilder, File},
    io::{ErrorKind, Result},
    os::unix::fs::DirBuilderExt as _,
    path::Path,
    sync::{Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// Makes the entries of directory `path` durable.
pub fn sync_dir(path: &Path) -> Result<()> {
    Ok(fs::fsync(open_dir(path)?)?)
}

fn open_dir(path: &Path) -> io::Result<rustix::fd::OwnedFd> {
    fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

/// Makes directory `path`, with permissions `mode` less the umask, and those above it that are missing, all of
/// them durable.
pub fn create_dir_all(path: &Path, mode: u32) -> Result<()> {
    match DirBuilder::new().mode(mode).create(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let parent = path.parent().ok_or(error)?;
            create_dir_all(parent, mode)?;
            DirBuilder::new().mode(mode).create(path)?;
        }
        Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => return Ok(()),
        result => result?,
    }
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// How often [`write_back_during`] writes back: so that what the disk takes in that time is a small part of
/// the work.
const INTERVAL: Duration = Duration::from_millis(250);

/// Does `work`, which writes much to the file system of directory `dir`, and has it written back at the same
/// time, so that the sync that follows has little left to do. The kernel by itself would not begin for
/// seconds. Nothing is promised to be durable.
pub fn write_back_during<T>(dir: &Path, work: impl FnOnce() -> T) -> T {
    let Ok(dir) = open_dir(dir) else { return work() };
    let finished = Finished::default();
    thread::scope(|scope| {
        let write_back = || {
            while !finished.within(INTERVAL) {
                // An error shows again in the sync that counts.
                let _ = fs::syncfs(&dir);
            }
        };
        // Without a thread there is only less done ahead.
        let _ = thread::Builder::new().name("write-back".into()).spawn_scoped(scope, write_back);
        let _finish = Finish(&finished);
        work()
    })
}

#[derive(Default)]
struct Finished(Mutex<bool>, Condvar);

impl Finished {
    /// Waits until it is finished, at most for `time`; says whether it is.
    fn within(&self, time: Duration) -> bool {
        let waited = self.1.wait_timeout_while(lock(&self.0), time, |finished| !*finished);
        *waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

/// Says that it is finished when dropped, also by a panic, which would otherwise wait for the thread for ever.
struct Finish<'a>(&'a Finished);

impl Drop for Finish<'_> {
    fn drop(&mut self) {
        *lock(&self.0.0) = true;
        self.0.1.notify_all();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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
        let mut turns = lock(&self.turns);
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
            turns = lock(&self.turns);
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
    fn writing_back_ends_with_the_work() {
        let dir = tempfile::tempdir().unwrap();
        let work = || {
            std::fs::write(dir.path().join("file"), "x").unwrap();
            thread::sleep(INTERVAL * 2);
            7
        };
        assert_eq!(write_back_during(dir.path(), work), 7);
        let panicked = std::panic::catch_unwind(|| write_back_during(dir.path(), || panic!("in the middle")));
        assert!(panicked.is_err());
        assert_eq!(write_back_during(&dir.path().join("absent"), || 8), 8);
    }

    #[test]
    fn directories_are_made_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b/c");
        create_dir_all(&path, 0o700).unwrap();
        create_dir_all(&path, 0o700).unwrap();
        assert_eq!(std::os::unix::fs::PermissionsExt::mode(&path.metadata().unwrap().permissions()) & 0o777, 0o700);
        std::fs::write(path.join("file"), "").unwrap();
        assert!(create_dir_all(&path.join("file"), 0o700).is_err());
        assert!(create_dir_all(&path.join("file/d"), 0o700).is_err());
    }

    #[test]
    fn a_file_is_no_directory() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(SharedSync::file_system(file.path()).is_err());
        assert!(sync_dir(file.path()).is_err());
    }
}
