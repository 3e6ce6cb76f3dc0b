//! The directories of a local driver, one a snapshot, and how they come and go.
//!
//! ```text
//! <root>/snapshots/<id>         a snapshot
//! <root>/snapshots/new-…        one being made: renamed to <id> when it is whole
//! <root>/snapshots/rm-…         one being deleted: renamed first, since deleting a tree takes its time
//! ```
//!
//! A directory is there under its id whole or not at all, so that a crash leaves only things that can be told
//! by their names: `new-` at the next start, `rm-`, and an `<id>` that the store does not know. All of it is
//! deleted by a cleanup; opening only renames, so that a daemon with much to delete starts at once.

use super::{Live, Snapshot};
use model::{Error, Result};
use std::{
    collections::HashSet,
    fs::{self, DirBuilder},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::UNIX_EPOCH,
};
use sys::{
    fsync::{SharedSync, create_dir_all},
    root::Root,
};

#[derive(Debug)]
pub(super) struct Directories {
    root: PathBuf,
    snapshots: PathBuf,
    /// Makes names in `snapshots` durable.
    names: SharedSync,
    /// Makes everything in the file system durable.
    contents: SharedSync,
    /// Tells temporary names apart.
    next: AtomicU64,
    /// Snapshots placed since the last cleanup listed what there is. Locked while names change.
    placed: Mutex<HashSet<u64>>,
    /// One cleanup at a time.
    cleaning: Mutex<()>,
}

impl Directories {
    /// Opens `root`, made if missing, and puts away what a crash left half made.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let failed = |error| Error::io(format!("open snapshots in {}", root.display()), error);
        let snapshots = root.join("snapshots");
        create_dir_all(&snapshots, 0o700).map_err(failed)?;
        let names = SharedSync::directory(&snapshots).map_err(failed)?;
        let contents = SharedSync::file_system(&snapshots).map_err(failed)?;
        // Begins with the time, so that no name that an earlier process left is met again.
        let now = UNIX_EPOCH.elapsed().map_or(0, |time| time.as_nanos());
        let next = AtomicU64::new(u64::try_from(now).unwrap_or(0));
        let root = root.to_owned();
        let (placed, cleaning) = (Mutex::default(), Mutex::default());
        let directories = Self { root, snapshots, names, contents, next, placed, cleaning };
        for name in directories.names()?.iter().filter(|name| name.starts_with("new-")) {
            fs::rename(directories.snapshots.join(name), directories.temporary("rm", 0)).map_err(failed)?;
        }
        Ok(directories)
    }

    /// Where all of it is.
    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// Where snapshot `id` is.
    pub(super) fn path(&self, id: u64) -> PathBuf {
        self.snapshots.join(id.to_string())
    }

    /// Makes the directory of `snapshot`, filled by `fill`, durable when this returns. One that is there
    /// already belongs to nobody and is replaced.
    pub(super) fn create(&self, snapshot: &Snapshot<'_>, fill: impl FnOnce(&Path) -> io::Result<()>) -> Result<()> {
        let failed = |error| Error::io(format!("prepare snapshot {}", snapshot.key), error);
        let temporary = self.temporary("new", snapshot.id);
        let made = DirBuilder::new().mode(0o700).create(&temporary).and_then(|()| fill(&temporary));
        let placed = made.and_then(|()| self.place(&temporary, snapshot.id));
        if placed.is_err() {
            // The first error counts; what cannot be deleted now is at the next start.
            let _ = temporary.file_name().map(|name| self.delete(name));
        }
        placed.map_err(failed)
    }

    fn place(&self, temporary: &Path, id: u64) -> io::Result<()> {
        let path = self.path(id);
        let mut placed = lock(&self.placed);
        match fs::rename(temporary, &path) {
            // A directory that is not empty is in the way.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                tracing::warn!(path = %path.display(), "replacing a snapshot directory that nobody knows");
                self.discard(id)?;
                fs::rename(temporary, &path)?;
            }
            result => result?,
        }
        placed.insert(id);
        drop(placed);
        // One journal, so what is in the directory is durable when its name is.
        self.names.sync()
    }

    /// Makes durable all that was written to `snapshot`, or any other, before this call.
    pub(super) fn settle(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        self.contents.sync().map_err(|error| Error::io(format!("commit snapshot {}", snapshot.key), error))
    }

    /// Puts the directory of `id` out of the way; says whether there was one.
    pub(super) fn discard(&self, id: u64) -> io::Result<bool> {
        match fs::rename(self.path(id), self.temporary("rm", id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Deletes what [`discard`](Self::discard) put away; goes on after an error, and reports the first.
    pub(super) fn delete_discarded(&self) -> Result<()> {
        let mut result = Ok(());
        for name in self.names()?.iter().filter(|name| name.starts_with("rm-")) {
            if let Err(error) = self.delete(name) {
                let error = Error::io(format!("remove {}", self.snapshots.join(name).display()), error);
                tracing::warn!(%error, "a snapshot directory stays");
                result = result.and(Err(error));
            }
        }
        result
    }

    /// Deletes a tree that may be as deep as a container could make it.
    fn delete(&self, name: impl AsRef<Path>) -> io::Result<()> {
        match Root::open(&self.snapshots)?.entry(name)?.remove_all() {
            // Two callers may delete the same.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Deletes the directories of snapshots that are not live.
    pub(super) fn cleanup(&self, live: &dyn Fn() -> Result<Live>) -> Result<()> {
        let _one = lock(&self.cleaning);
        let ids: Vec<u64> = {
            let mut placed = lock(&self.placed);
            placed.clear();
            self.names()?.iter().filter_map(|name| name.parse().ok()).collect()
        };
        let live = live()?;
        for id in ids.into_iter().filter(|id| !live.ids.contains(id)) {
            // After a crash an id may be drawn once more; then the new snapshot is where the orphan was.
            let placed = lock(&self.placed);
            if !placed.contains(&id) {
                self.discard(id).map_err(|error| Error::io(format!("remove {}", self.path(id).display()), error))?;
            }
        }
        self.delete_discarded()
    }

    fn names(&self) -> Result<Vec<String>> {
        let list = || -> io::Result<Vec<String>> {
            let entries = fs::read_dir(&self.snapshots)?;
            // Our names are ASCII; others are not ours.
            entries.filter_map(|entry| entry.map(|entry| entry.file_name().into_string().ok()).transpose()).collect()
        };
        list().map_err(|error| Error::io(format!("list {}", self.snapshots.display()), error))
    }

    fn temporary(&self, prefix: &str, id: u64) -> PathBuf {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.snapshots.join(format!("{prefix}-{id}-{number}"))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
