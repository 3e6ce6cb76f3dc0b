//! Snapshots: their records, and the drivers that hold their files.

use crate::Store;
use model::{Error, FieldMask, Filter, Labels, Mount, Result, Scope, SnapshotInfo, Usage};

impl Store {
    /// Names of the snapshotters, in the order configured.
    pub fn snapshotters(&self) -> impl Iterator<Item = &str> {
        std::iter::empty()
    }

    /// Makes the active snapshot `key` on top of `parent` (or of nothing, if empty).
    ///
    /// `AlreadyExists` for a snapshot with the label `containerd.io/snapshot.ref` also says that the layer
    /// of that name is there.
    pub fn prepare_snapshot(
        &self,
        scope: &Scope,
        snapshotter: &str,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>> {
        let _ = (scope, snapshotter, key, parent, labels);
        Err(Error::unimplemented("pending"))
    }

    /// Makes a read-only view `key` of `parent`.
    pub fn view_snapshot(
        &self,
        scope: &Scope,
        snapshotter: &str,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<Vec<Mount>> {
        let _ = (scope, snapshotter, key, parent, labels);
        Err(Error::unimplemented("pending"))
    }

    /// The mounts of an active snapshot or a view.
    pub fn snapshot_mounts(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<Vec<Mount>> {
        let _ = (scope, snapshotter, key);
        Err(Error::unimplemented("pending"))
    }

    /// Makes the active snapshot `key` the committed snapshot `name`. `parent` (empty: none) is given to
    /// one that was prepared without a parent.
    pub fn commit_snapshot(
        &self,
        scope: &Scope,
        snapshotter: &str,
        name: &str,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<()> {
        let _ = (scope, snapshotter, name, key, parent, labels);
        Err(Error::unimplemented("pending"))
    }

    /// Removes a snapshot; one with children is `FailedPrecondition`. The files go with the next garbage
    /// collection.
    pub fn remove_snapshot(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<()> {
        let _ = (scope, snapshotter, key);
        Err(Error::unimplemented("pending"))
    }

    /// The snapshot `key`.
    pub fn stat_snapshot(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<SnapshotInfo> {
        let _ = (scope, snapshotter, key);
        Err(Error::unimplemented("pending"))
    }

    /// Updates the labels, all or those `labels.<key>` that `mask` names.
    pub fn update_snapshot(
        &self,
        scope: &Scope,
        snapshotter: &str,
        key: &str,
        labels: Labels,
        mask: &FieldMask,
    ) -> Result<SnapshotInfo> {
        let _ = (scope, snapshotter, key, labels, mask);
        Err(Error::unimplemented("pending"))
    }

    /// The snapshots that match, by key.
    pub fn list_snapshots(&self, scope: &Scope, snapshotter: &str, filter: &Filter) -> Result<Vec<SnapshotInfo>> {
        let _ = (scope, snapshotter, filter);
        Err(Error::unimplemented("pending"))
    }

    /// What a snapshot takes on disk, without its parents; for an active one the disk is walked.
    pub fn snapshot_usage(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<Usage> {
        let _ = (scope, snapshotter, key);
        Err(Error::unimplemented("pending"))
    }

    /// Removes files that belong to no snapshot.
    pub fn cleanup_snapshotter(&self, snapshotter: &str) -> Result<()> {
        let _ = snapshotter;
        Err(Error::unimplemented("pending"))
    }
}
