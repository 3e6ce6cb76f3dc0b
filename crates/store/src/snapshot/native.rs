//! native: each snapshot is a whole copy of its parent. Works on any file system, and where it can share
//! blocks between files (btrfs, xfs) costs little.
//!
//! ```text
//! <root>/snapshots/<id>         the snapshot's tree; a view has none, it shows its parent's
//! ```

use super::{
    Capability, Commit, Driver, Live, Snapshot, cannot_rebase, copy::copy_tree, directories::Directories, usage::usage,
};
use model::{Error, Labels, Mount, Result, SnapshotKind, Usage};
use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt as _,
    path::Path,
};

/// The native snapshotter.
#[derive(Debug)]
pub struct Native {
    directories: Directories,
}

impl Native {
    /// Opens the snapshots in `root`.
    pub fn open(root: &Path) -> Result<Self> {
        Ok(Self { directories: Directories::open(root)? })
    }

    fn mount(&self, snapshot: &Snapshot<'_>) -> Mount {
        let (shown, access) = match (snapshot.kind, snapshot.parents) {
            (SnapshotKind::View, [parent, ..]) => (*parent, "ro"),
            (SnapshotKind::View, []) => (snapshot.id, "ro"),
            _ => (snapshot.id, "rw"),
        };
        Mount {
            fs_type: "bind".into(),
            source: self.directories.path(shown).display().to_string(),
            target: String::new(),
            options: vec!["rbind".into(), access.into()],
        }
    }
}

impl Driver for Native {
    fn capabilities(&self) -> Vec<Capability> {
        Vec::new()
    }

    fn exports(&self) -> Labels {
        Labels::from([("root".into(), self.directories.root().display().to_string())])
    }

    fn prepare(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        if snapshot.kind == SnapshotKind::Active || snapshot.parents.is_empty() {
            self.directories.create(snapshot, |dir| {
                fs::set_permissions(dir, Permissions::from_mode(0o755))?;
                snapshot.parents.first().map_or(Ok(()), |parent| copy_tree(&self.directories.path(*parent), dir))
            })?;
        }
        Ok(vec![self.mount(snapshot)])
    }

    fn mounts(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>> {
        Ok(vec![self.mount(snapshot)])
    }

    fn settle(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        self.directories.settle(snapshot)
    }

    fn commit(&self, snapshot: &Snapshot<'_>, commit: &Commit<'_>) -> Result<()> {
        if commit.rebase.is_some() { Err(cannot_rebase("native", snapshot.key)) } else { Ok(()) }
    }

    fn usage(&self, snapshot: &Snapshot<'_>) -> Result<Usage> {
        if snapshot.kind == SnapshotKind::View && !snapshot.parents.is_empty() {
            return Ok(Usage::default());
        }
        let usage = usage(&self.directories.path(snapshot.id));
        usage.map_err(|error| Error::io(format!("measure snapshot {}", snapshot.key), error))
    }

    fn remove(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        let discarded = self.directories.discard(snapshot.id);
        if discarded.map_err(|error| Error::io(format!("remove snapshot {}", snapshot.key), error))? {
            self.directories.delete_discarded()?;
        }
        Ok(())
    }

    fn cleanup(&self, live: &dyn Fn() -> Result<Live>) -> Result<()> {
        self.directories.cleanup(live)
    }
}
