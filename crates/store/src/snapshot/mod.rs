//! Snapshots on disk, or in another process: what a snapshotter does once the store knows what it is doing.
//!
//! A [`Driver`] keeps no database. Keys, kinds, parents, labels and the numeric ids are the store's, which
//! passes them with each call as a [`Snapshot`]; a driver turns them into directories and mounts. That
//! leaves one place, and one transaction, that decides what exists.

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;
mod copy;
mod directories;
pub mod native;
pub mod overlay;
mod usage;

pub use native::Native;
pub use overlay::Overlay;

use model::{Error, Labels, Mount, Result, SnapshotInfo, SnapshotKind, Usage};
use std::{collections::HashSet, fmt};

/// A snapshot as the store knows it.
#[derive(Clone, Copy, Debug)]
pub struct Snapshot<'a> {
    /// What can be done with it.
    pub kind: SnapshotKind,
    /// Its number, unique in the snapshotter for ever; local drivers name its directory by it. It stays the
    /// same through [`Driver::commit`].
    pub id: u64,
    /// The numbers of its ancestors, nearest first. All are committed.
    pub parents: &'a [u64],
    /// What a remote driver calls it: `<namespace>/<sequence>/<key or name>`.
    pub key: &'a str,
    /// What a remote driver calls its parent, or empty.
    pub parent: &'a str,
    /// Those of its labels that drivers see: `containerd.io/snapshot.ref` and `containerd.io/snapshot/…`.
    pub labels: &'a Labels,
}

/// What [`Driver::commit`] turns an active snapshot into.
#[derive(Clone, Copy, Debug)]
pub struct Commit<'a> {
    /// What a remote driver is to call it from now on.
    pub key: &'a str,
    /// Whether the snapshot was prepared without a parent and is given one now. [`Snapshot::parents`] and
    /// [`Snapshot::parent`] say the old state (none); `parent` is the new one. Only a driver with
    /// [`Capability::Rebase`] is asked.
    pub rebase: Option<&'a str>,
    /// Those of its new labels that drivers see.
    pub labels: &'a Labels,
}

/// What a snapshotter can do beyond the minimum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Capability {
    /// Shows a snapshot with its owners shifted, as the labels `containerd.io/snapshot/{uid,gid}mapping` say.
    RemapIds,
    /// Shifts owners that way or not at all: clients must not copy the snapshot to change its owners.
    OnlyRemapIds,
    /// Gives a snapshot its parent when it is committed, so that layers can be unpacked side by side.
    /// [`Driver::reconcile`] then does what could not be done without the parent.
    Rebase,
}

impl Capability {
    /// As introspection reports it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RemapIds => "remap-ids",
            Self::OnlyRemapIds => "only-remap-ids",
            Self::Rebase => "rebase",
        }
    }
}

/// Everything of a snapshotter that the store still knows.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// Every recorded [`Snapshot::id`], and every one handed to a driver whose record is still to come.
    pub ids: HashSet<u64>,
    /// The same as [`Snapshot::key`].
    pub keys: HashSet<String>,
}

/// A snapshotter: overlayfs, native, or a proxy to another process.
///
/// # Lifecycle
///
/// The store draws a new id in a transaction, calls [`prepare`](Self::prepare) outside any transaction or
/// lock, and records the snapshot in a second one. When that fails it calls [`remove`](Self::remove). After
/// a crash in between, the directory belongs to nobody: [`cleanup`](Self::cleanup) removes it, and until
/// then a `prepare` that draws the same id replaces it.
///
/// An active snapshot is mounted and written by clients, the driver is not involved.
/// [`reconcile`](Self::reconcile), [`settle`](Self::settle) and then `commit` come before the store's transaction
/// that makes the record a committed one: by then everything written is durable, and nothing is changed that an
/// active snapshot could not live with, since that transaction may never come. So after a power cut the snapshot is either still active or committed and whole. For a
/// remote driver `commit` is final; when the transaction fails, `cleanup` finds a key nobody knows.
///
/// Committed snapshots are never written again. `remove` comes after the transaction that erased the
/// record (which was refused if there were children), outside any lock, and may be repeated; what it leaves
/// undone is done by `cleanup`, at start and with each garbage collection.
///
/// # Concurrency
///
/// Calls for different snapshots come at the same time from many threads; calls for one snapshot too, but
/// never a `commit` or `remove` beside another. Every call may block for as long as the disk does; a
/// driver that asks somebody else sets itself a deadline.
///
/// # Errors
///
/// Messages name the snapshot's key or the path. On a full disk, too, what the call began
/// is taken back.
pub trait Driver: Send + Sync + fmt::Debug {
    /// What it can do beyond the minimum.
    fn capabilities(&self) -> Vec<Capability>;

    /// What introspection reports about it: `root`, `enable_remote_snapshot_annotations`.
    fn exports(&self) -> Labels {
        Labels::new()
    }

    /// Makes the active snapshot or the view `snapshot`, and returns its mounts.
    ///
    /// # Errors
    /// A remote driver may answer `AlreadyExists` to a snapshot with the label `containerd.io/snapshot.ref`:
    /// the layer of that name is ready, [`find`](Self::find) tells under which key.
    fn prepare(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>>;

    /// The mounts that show the active snapshot or view `snapshot`.
    fn mounts(&self, snapshot: &Snapshot<'_>) -> Result<Vec<Mount>>;

    /// Makes the active `snapshot` what its layer means above `parents` (nearest first), its ancestors to be, if
    /// that was not known yet when the layer was unpacked. Says whether anything was written that is not durable yet.
    /// May be repeated with the same parents.
    fn reconcile(&self, snapshot: &Snapshot<'_>, parents: &[u64]) -> Result<bool> {
        let _ = (snapshot, parents);
        Ok(false)
    }

    /// Makes durable all that was written to the active `snapshot` before this call. Calls for several at a
    /// time should cost little more than one. A driver whose `commit` does it has nothing to do here.
    fn settle(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        let _ = snapshot;
        Ok(())
    }

    /// Makes the active `snapshot`, settled since it was last written, ready to be recorded as committed.
    fn commit(&self, snapshot: &Snapshot<'_>, commit: &Commit<'_>) -> Result<()>;

    /// What `snapshot` takes on disk now, without its parents.
    fn usage(&self, snapshot: &Snapshot<'_>) -> Result<Usage>;

    /// Whether the usage of a committed snapshot stays what it is, so that the store may remember it.
    fn usage_is_fixed(&self) -> bool {
        true
    }

    /// Takes note that the labels of `snapshot` are now as they are in it.
    fn update(&self, snapshot: &Snapshot<'_>) -> Result<()> {
        let _ = snapshot;
        Ok(())
    }

    /// Labels that the driver itself shows with `snapshot`, such as where its upper directory is.
    fn labels(&self, snapshot: &Snapshot<'_>) -> Result<Labels> {
        let _ = snapshot;
        Ok(Labels::new())
    }

    /// The committed snapshot that the driver holds for `containerd.io/snapshot.ref` = `reference` above the
    /// backend key `parent`, under its backend key.
    fn find(&self, reference: &str, parent: &str) -> Result<Option<SnapshotInfo>> {
        let _ = (reference, parent);
        Ok(None)
    }

    /// Gives up what `snapshot` holds. One that is gone already is no error.
    fn remove(&self, snapshot: &Snapshot<'_>) -> Result<()>;

    /// Gives up everything that is not live.
    ///
    /// The driver lists what it has *before* it calls `live`, once; so a snapshot whose `prepare` runs at
    /// the same time is either not listed or live.
    fn cleanup(&self, live: &dyn Fn() -> Result<Live>) -> Result<()>;
}

/// The error for a commit with a new parent on a driver without [`Capability::Rebase`].
pub fn cannot_rebase(snapshotter: &str, key: &str) -> Error {
    Error::unimplemented(format!("snapshotter {snapshotter} cannot give snapshot {key} a parent when it is committed"))
}

#[cfg(test)]
mod tests;
