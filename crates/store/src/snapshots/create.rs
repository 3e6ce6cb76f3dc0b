//! Prepare and View.

use super::{SnapshotRecord, Snapshotter, TARGET, as_asked, inherited, validate};
use crate::{
    Store,
    leases::{check_lease, hold},
    namespaces::ensure_namespace,
};
use model::{
    Error, Event, Kind as ErrorKind, Labels, Mount, Resource, Result, Scope, SnapshotInfo, SnapshotKind, Timestamp,
};
use std::sync::PoisonError;

/// A snapshot to be made.
struct Request<'a> {
    scope: &'a Scope,
    snapshotter: &'a Snapshotter,
    kind: SnapshotKind,
    key: &'a str,
    parent: &'a str,
    labels: Labels,
}

impl Store {
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
        let snapshotter = self.snapshotter(snapshotter)?;
        self.create(&Request { scope, snapshotter, kind: SnapshotKind::Active, key, parent, labels })
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
        let snapshotter = self.snapshotter(snapshotter)?;
        self.create(&Request { scope, snapshotter, kind: SnapshotKind::View, key, parent, labels })
    }

    fn create(&self, request: &Request<'_>) -> Result<Vec<Mount>> {
        let Request { scope, snapshotter, kind, key, parent, labels } = request;
        validate("snapshot key", key, labels)?;
        let target = labels.get(TARGET).map(String::as_str).filter(|target| !target.is_empty());
        let _locks = snapshotter.lock(scope, &[&[*key][..], target.as_slice()].concat());
        let db = self.core.db.read()?;
        check_lease(&db, scope)?;
        for name in target.iter().chain([key]) {
            if SnapshotRecord::find(&db, scope, &snapshotter.name, name)?.is_some() {
                return Err(self.hold_existing(request, name)?);
            }
        }
        let above = SnapshotRecord::parent(&db, scope, &snapshotter.name, parent)?;
        let parents = SnapshotRecord::parents(above.as_ref(), &db, scope, &snapshotter.name)?;
        drop(db);

        let id = self.core.db.next_sequence()?;
        let backend = format!("{}/{id}/{key}", scope.namespace);
        let _in_flight = snapshotter.begin(id, &backend);
        let shown = inherited(labels);
        let asked = as_asked(*kind, id, &backend, &parents, &shown);
        let mounts = match snapshotter.driver.prepare(&asked) {
            Ok(mounts) => mounts,
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                return match target {
                    Some(target) => Err(self.adopt(request, target, &parents.backend)?),
                    // The key is new and unique; a caller would take this for its own snapshot.
                    None => Err(Error::unknown("unexpected error from snapshotter").caused_by(error)),
                };
            }
            Err(error) => return Err(error),
        };
        let now = Timestamp::now();
        let info = SnapshotInfo {
            kind: *kind,
            name: (*key).to_owned(),
            parent: (*parent).to_owned(),
            labels: labels.clone(),
            created_at: now,
            updated_at: now,
        };
        let record = SnapshotRecord { info, id, backend: backend.clone(), usage: None };
        if let Err(error) = self.record_new(request, record, &parents.backend) {
            if let Err(error) = snapshotter.driver.remove(&asked) {
                let snapshotter = &snapshotter.name;
                tracing::warn!(%error, snapshotter, key = backend, "cannot remove a snapshot without record");
            }
            return Err(error);
        }
        Ok(mounts)
    }

    /// The lease takes what is there already; the request fails all the same.
    fn hold_existing(&self, request: &Request<'_>, name: &str) -> Result<Error> {
        let (scope, name) = (request.scope.clone(), name.to_owned());
        let text = match name == request.key {
            true => format!("snapshot {name:?}"),
            false => format!("target snapshot {name:?}"),
        };
        let resource = Resource::Snapshot(request.snapshotter.name.clone(), name);
        if scope.lease.is_some() {
            self.core.db.write(move |tx| hold(tx, &scope, &resource))?;
        }
        Ok(Error::already_exists(text))
    }

    fn record_new(&self, request: &Request<'_>, mut record: SnapshotRecord, backend_parent: &str) -> Result<()> {
        let (scope, snapshotter) = (request.scope.clone(), request.snapshotter.name.clone());
        let backend_parent = backend_parent.to_owned();
        crate::mask::drop_empty(&mut record.info.labels);
        self.core.db.write(move |tx| {
            ensure_namespace(tx, &scope)?;
            let SnapshotInfo { kind, name, parent, .. } = record.info.clone();
            hold(tx, &scope, &Resource::Snapshot(snapshotter.clone(), name.clone()))?;
            if SnapshotRecord::find(tx, &scope, &snapshotter, &name)?.is_some() {
                return Err(Error::already_exists(format!("snapshot {name:?}")));
            }
            // The parent may be another one by now, or none.
            let above = SnapshotRecord::parent(tx, &scope, &snapshotter, &parent)?;
            if above.map(|above| above.backend).unwrap_or_default() != backend_parent {
                return Err(Error::invalid_argument(format!("mismatched parent {parent} of snapshot {name}")));
            }
            record.put(tx, &scope, &snapshotter);
            if kind == SnapshotKind::Active {
                tx.emit(&scope.namespace, Event::SnapshotPrepare { key: name, parent, snapshotter });
            }
            Ok(())
        })
    }

    /// Gives a record to the snapshot `target` that the driver says it has. The caller learns of it by
    /// `AlreadyExists`, which is returned.
    fn adopt(&self, request: &Request<'_>, target: &str, backend_parent: &str) -> Result<Error> {
        let snapshotter = request.snapshotter;
        let _adopting = snapshotter.adopting.read().unwrap_or_else(PoisonError::into_inner);
        let found = snapshotter.driver.find(target, backend_parent)?;
        let found = found.ok_or_else(|| Error::not_found(format!("target snapshot {target:?} in backend")))?;
        let mut labels = found.labels;
        labels.extend(request.labels.clone());
        let info = SnapshotInfo {
            kind: SnapshotKind::Committed,
            name: target.to_owned(),
            parent: request.parent.to_owned(),
            labels,
            created_at: found.created_at,
            updated_at: found.updated_at,
        };
        let id = self.core.db.next_sequence()?;
        self.adopted(request, SnapshotRecord { info, id, backend: found.name, usage: None })?;
        Ok(Error::already_exists(format!("target snapshot {target:?} from snapshotter")))
    }

    fn adopted(&self, request: &Request<'_>, record: SnapshotRecord) -> Result<()> {
        let (scope, snapshotter) = (request.scope.clone(), request.snapshotter.name.clone());
        self.core.db.write(move |tx| {
            ensure_namespace(tx, &scope)?;
            hold(tx, &scope, &Resource::Snapshot(snapshotter.clone(), record.info.name.clone()))?;
            SnapshotRecord::parent(tx, &scope, &snapshotter, &record.info.parent)?;
            record.put(tx, &scope, &snapshotter);
            Ok(())
        })
    }
}
