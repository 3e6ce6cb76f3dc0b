//! Commit, with a new parent if need be. What was written is made durable first, or has been already: of layers that
//! are unpacked side by side all at the same time, before they are committed one after the other.

use super::{SnapshotRecord, as_asked, inherited, validate};
use crate::{
    Store,
    leases::{check_lease, hold, release},
    snapshot::{Capability, Commit, cannot_rebase},
};
use model::{Error, Event, Labels, Resource, Result, Scope, SnapshotInfo, SnapshotKind, Timestamp};

/// A snapshot to be committed.
#[derive(Clone, Copy, Debug)]
struct Request<'a> {
    snapshotter: &'a str,
    name: &'a str,
    key: &'a str,
    parent: &'a str,
    is_settled: bool,
}

impl Store {
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
        self.commit(scope, Request { snapshotter, name, key, parent, is_settled: false }, labels)
    }

    /// Makes durable what was written to the active snapshot `key` before this call.
    pub fn settle_snapshot(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<()> {
        let snapshotter = self.snapshotter(snapshotter)?;
        let db = self.core.db.read()?;
        let active = SnapshotRecord::get(&db, scope, &snapshotter.name, key)?;
        active.with(&db, scope, &snapshotter.name, |snapshot| snapshotter.driver.settle(snapshot))
    }

    /// [`Self::commit_snapshot`] of a snapshot that no client has written since [`Self::settle_snapshot`]. The commit
    /// itself becomes durable with the next request that is, or in a moment: for a caller whose last request is one.
    pub fn commit_settled_snapshot(
        &self,
        scope: &Scope,
        snapshotter: &str,
        name: &str,
        key: &str,
        parent: &str,
        labels: Labels,
    ) -> Result<()> {
        self.commit(scope, Request { snapshotter, name, key, parent, is_settled: true }, labels)
    }

    fn commit(&self, scope: &Scope, request: Request<'_>, mut labels: Labels) -> Result<()> {
        let Request { name, key, parent, is_settled, .. } = request;
        let snapshotter = self.snapshotter(request.snapshotter)?;
        validate("snapshot name", name, &labels)?;
        crate::mask::drop_empty(&mut labels);
        // The parent too: until this one is its child, nothing else keeps it.
        let locked: Vec<&str> = [name, key, parent].into_iter().filter(|key| !key.is_empty()).collect();
        let _locks = snapshotter.lock(scope, &locked);
        let db = self.core.db.read()?;
        check_lease(&db, scope)?;
        if SnapshotRecord::find(&db, scope, &snapshotter.name, name)?.is_some() {
            let resource = Resource::Snapshot(snapshotter.name.clone(), name.to_owned());
            let scope = scope.clone();
            if scope.lease.is_some() {
                self.core.db.write(move |tx| hold(tx, &scope, &resource))?;
            }
            return Err(Error::already_exists(format!("snapshot {name:?}")));
        }
        let active = SnapshotRecord::get(&db, scope, &snapshotter.name, key)?;
        if active.info.kind != SnapshotKind::Active {
            return Err(Error::failed_precondition(format!("snapshot {key:?} is not active")));
        }
        let rebase = active.info.parent.is_empty() && !parent.is_empty();
        if rebase && !snapshotter.driver.capabilities().contains(&Capability::Rebase) {
            return Err(cannot_rebase(&snapshotter.name, key));
        }
        let old = SnapshotRecord::parent(&db, scope, &snapshotter.name, &active.info.parent)?;
        let old = SnapshotRecord::parents(old.as_ref(), &db, scope, &snapshotter.name)?;
        let above = if rebase { parent } else { &active.info.parent };
        let new = SnapshotRecord::parent(&db, scope, &snapshotter.name, above)?;
        let new = SnapshotRecord::parents(new.as_ref(), &db, scope, &snapshotter.name)?;
        drop(db);

        let backend = format!("{}/{}/{name}", scope.namespace, self.core.db.next_sequence()?);
        let _in_flight = snapshotter.begin(active.id, &backend);
        let (shown, before) = (inherited(&labels), inherited(&active.info.labels));
        let asked = as_asked(SnapshotKind::Active, active.id, &active.backend, &old, &before);
        let commit = Commit { key: &backend, rebase: rebase.then_some(new.backend.as_str()), labels: &shown };
        let reconciled = snapshotter.driver.reconcile(&asked, &new.ids)?;
        if reconciled || !is_settled {
            snapshotter.driver.settle(&asked)?;
        }
        snapshotter.driver.commit(&asked, &commit)?;

        let now = Timestamp::now();
        let info = SnapshotInfo {
            kind: SnapshotKind::Committed,
            name: name.to_owned(),
            parent: above.to_owned(),
            labels,
            created_at: now,
            updated_at: now,
        };
        let committed = SnapshotRecord { info, id: active.id, backend, usage: None };
        let (scope, snapshotter) = (scope.clone(), snapshotter.name.clone());
        self.core.db.write(move |tx| {
            let key = active.info.name.clone();
            let name = committed.info.name.clone();
            if SnapshotRecord::get(tx, &scope, &snapshotter, &key)?.id != active.id {
                return Err(Error::aborted(format!("snapshot {key} was replaced while it was committed")));
            }
            SnapshotRecord::parent(tx, &scope, &snapshotter, &committed.info.parent)?;
            hold(tx, &scope, &Resource::Snapshot(snapshotter.clone(), name.clone()))?;
            active.delete(tx, &scope, &snapshotter);
            release(tx, &scope, &Resource::Snapshot(snapshotter.clone(), key.clone()));
            committed.put(tx, &scope, &snapshotter);
            tx.emit(&scope.namespace, Event::SnapshotCommit { key, name, snapshotter });
            if is_settled {
                tx.durable_soon();
            }
            Ok(())
        })
    }
}
