//! The directories of a local driver, one a snapshot, and how they come and go.
//!
//! ```text
//! <root>/snapshots/<id>         a snapshot
//! <root>/snapshots/new-…        one being made: renamed to <id> when it is whole
//! <root>/snapshots/rm-…         one being deleted: renamed first, since deleting a tree takes its time
//! ```
//!
//! A directory is there under its id whole or not at all, so that a crash leaves only things that can be told
//! by their names: `new-` and `rm-` at the next start, and an `<id>` that the store does not know.

use super::{Live, Snapshot};
use model::{Error, Result};
use std::{
    fs::{self, DirBuilder},
    io::{self, ErrorKind},
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};
use sys::fsync::{SharedSync, sync_dir};

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
}

impl Directories {
    /// Opens `root`, made if missing, and removes what a crash left half made or half deleted.
    pub(super) fn open(root: &Path) -> Result<Self> {
        let failed = |error| Error::io(format!("open snapshots in {}", root.display()), error);
        let snapshots = root.join("snapshots");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&snapshots).and_then(|()| sync_dir(root));
        made.map_err(failed)?;
        let names = SharedSync::directory(&snapshots).map_err(failed)?;
        let contents = SharedSync::file_system(&snapshots).map_err(failed)?;
        let directories = Self { root: root.to_owned(), snapshots, names, contents, next: AtomicU64::new(0) };
        directories.delete_where(|name| name.starts_with("new-") || name.starts_with("rm-"))?;
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
            let _ = fs::remove_dir_all(&temporary);
        }
        placed.map_err(failed)
    }

    fn place(&self, temporary: &Path, id: u64) -> io::Result<()> {
        let path = self.path(id);
        match fs::rename(temporary, &path) {
            // A directory that is not empty is in the way.
            Err(error) if matches!(error.kind(), ErrorKind::DirectoryNotEmpty | ErrorKind::AlreadyExists) => {
                tracing::warn!(path = %path.display(), "replacing a snapshot directory that nobody knows");
                self.discard(id)?;
                fs::rename(temporary, &path)?;
            }
            result => result?,
        }
        // One journal, so what is in the directory is durable when its name is.
        self.names.sync()
    }

    /// Makes all that was written to any snapshot before this call durable.
    pub(super) fn sync_contents(&self) -> io::Result<()> {
        self.contents.sync()
    }

    /// Puts the directory of `id` out of the way; says whether there was one.
    pub(super) fn discard(&self, id: u64) -> io::Result<bool> {
        match fs::rename(self.path(id), self.temporary("rm", id)) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            result => result.map(|()| true),
        }
    }

    /// Deletes what [`discard`](Self::discard) put away.
    pub(super) fn delete_discarded(&self) -> Result<()> {
        self.delete_where(|name| name.starts_with("rm-"))
    }

    /// Deletes the directories of snapshots that are not live.
    pub(super) fn cleanup(&self, live: &dyn Fn() -> Result<Live>) -> Result<()> {
        let ids: Vec<u64> = self.names()?.iter().filter_map(|name| name.parse().ok()).collect();
        let live = live()?;
        for id in ids.into_iter().filter(|id| !live.ids.contains(id)) {
            self.discard(id).map_err(|error| Error::io(format!("remove {}", self.path(id).display()), error))?;
        }
        self.delete_discarded()
    }

    /// Deletes the directories whose names `chosen` picks; goes on after an error, and reports the first.
    fn delete_where(&self, chosen: impl Fn(&str) -> bool) -> Result<()> {
        let mut result = Ok(());
        for name in self.names()?.iter().filter(|name| chosen(name)) {
            let path = self.snapshots.join(name);
            match fs::remove_dir_all(&path) {
                // Two callers may delete the same.
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    let error = Error::io(format!("remove {}", path.display()), error);
                    tracing::warn!(%error, "a snapshot directory stays");
                    result = result.and(Err(error));
                }
                _ => {}
            }
        }
        result
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
        // The process's number keeps a name that could not be deleted at start from being met again.
        self.snapshots.join(format!("{prefix}-{id}-{}-{number}", std::process::id()))
    }
}
