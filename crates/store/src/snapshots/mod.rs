//! Snapshots: their records, and when which driver is called.
//!
//! A driver is called outside any transaction, by a request that holds the keys it is about (`locks`), and
//! before the record that depends on it is written. What a crash leaves between the two is a directory
//! without a record, which [`Driver::cleanup`] removes; what is just being made is `in_flight` meanwhile.

mod commit;
mod create;
mod record;

pub(crate) use record::SnapshotRecord;

use crate::{
    Store,
    claims::Claims,
    db::{Key, Kind, Read},
    leases::release,
    mask::{drop_empty, update_map},
    snapshot::{Capability, Driver, Live, Snapshot},
};
use model::{
    Error, Event, FieldMask, Filter, Labels, Mount, Resource, Result, Scope, SnapshotInfo, SnapshotKind, Timestamp,
    Usage, validate_labels,
};
use std::{
    fmt,
    sync::{Arc, Mutex, PoisonError, RwLock},
};

/// A driver and who is using it.
pub(crate) struct Snapshotter {
    pub(crate) name: String,
    pub(crate) driver: Arc<dyn Driver>,
    /// Keys that a request is changing, as `<namespace>/<key>`.
    locks: Claims,
    /// What has been handed to the driver and has no record yet.
    in_flight: Arc<Mutex<Live>>,
    /// Held while a driver's own snapshot is given a record, against `cleanup` removing it just then.
    adopting: RwLock<()>,
}

impl Snapshotter {
    pub(crate) fn new(name: String, driver: Arc<dyn Driver>) -> Self {
        Self { name, driver, locks: Claims::default(), in_flight: Arc::default(), adopting: RwLock::default() }
    }

    fn lock(&self, scope: &Scope, keys: &[&str]) -> Vec<crate::claims::Claim> {
        let keys: Vec<String> = keys.iter().map(|key| format!("{}/{key}", scope.namespace)).collect();
        self.locks.lock_all(&keys.iter().map(String::as_str).collect::<Vec<_>>())
    }

    fn begin(&self, id: u64, key: &str) -> InFlight {
        let mut live = self.in_flight.lock().unwrap_or_else(PoisonError::into_inner);
        live.ids.insert(id);
        live.keys.insert(key.to_owned());
        InFlight { live: Arc::clone(&self.in_flight), id, key: key.to_owned() }
    }
}

impl fmt::Debug for Snapshotter {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "Snapshotter({:?})", self.name)
    }
}

/// Something in a driver's hands, not yet recorded.
struct InFlight {
    live: Arc<Mutex<Live>>,
    id: u64,
    key: String,
}

impl Drop for InFlight {
    fn drop(&mut self) {
        let mut live = self.live.lock().unwrap_or_else(PoisonError::into_inner);
        live.ids.remove(&self.id);
        live.keys.remove(&self.key);
    }
}

impl Store {
    /// Names of the snapshotters, in the order configured.
    pub fn snapshotters(&self) -> impl Iterator<Item = &str> {
        self.core.snapshotters.iter().map(|snapshotter| snapshotter.name.as_str())
    }

    /// What the snapshotter can do beyond the minimum.
    pub fn snapshotter_capabilities(&self, snapshotter: &str) -> Result<Vec<Capability>> {
        Ok(self.snapshotter(snapshotter)?.driver.capabilities())
    }

    /// What introspection reports about the snapshotter.
    pub fn snapshotter_exports(&self, snapshotter: &str) -> Result<Labels> {
        Ok(self.snapshotter(snapshotter)?.driver.exports())
    }

    /// The mounts of an active snapshot or a view.
    pub fn snapshot_mounts(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<Vec<Mount>> {
        let snapshotter = self.snapshotter(snapshotter)?;
        let db = self.core.db.read()?;
        let record = SnapshotRecord::get(&db, scope, &snapshotter.name, key)?;
        if record.info.kind == SnapshotKind::Committed {
            return Err(Error::failed_precondition(format!("requested snapshot {key} not active or view")));
        }
        record.with(&db, scope, &snapshotter.name, |snapshot| snapshotter.driver.mounts(snapshot))
    }

    /// Removes a snapshot; one with children is `FailedPrecondition`. The files go with the next garbage
    /// collection.
    pub fn remove_snapshot(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<()> {
        let snapshotter = self.snapshotter(snapshotter)?;
        let _lock = snapshotter.lock(scope, &[key]);
        let (scope, name, key) = (scope.clone(), snapshotter.name.clone(), key.to_owned());
        self.core.db.write(move |tx| {
            let record = SnapshotRecord::get(tx, &scope, &name, &key)?;
            let path = [scope.namespace.as_str(), &name, &key];
            if !tx.is_empty(&Key::prefix(Kind::SnapshotChild, &path))? {
                return Err(Error::failed_precondition(format!("snapshot {key:?}: cannot remove snapshot with child")));
            }
            record.delete(tx, &scope, &name);
            release(tx, &scope, &Resource::Snapshot(name.clone(), key.clone()));
            tx.effects().deletions += 1;
            tx.effects().snapshotters.insert(name.clone());
            tx.emit(&scope.namespace, Event::SnapshotRemove { key, snapshotter: name });
            Ok(())
        })
    }

    /// The snapshot `key`.
    pub fn stat_snapshot(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<SnapshotInfo> {
        let snapshotter = self.snapshotter(snapshotter)?;
        let db = self.core.db.read()?;
        let record = SnapshotRecord::get(&db, scope, &snapshotter.name, key)?;
        with_driver_labels(&db, scope, snapshotter, record)
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
        let snapshotter = self.snapshotter(snapshotter)?;
        Key::check("snapshot key", key)?;
        let _lock = snapshotter.lock(scope, &[key]);
        let (request, name, key, mask) = (scope.clone(), snapshotter.name.clone(), key.to_owned(), mask.clone());
        let updated = self.core.db.write(move |tx| {
            let mut record = SnapshotRecord::get(tx, &request, &name, &key)?;
            let info = &mut record.info;
            if mask.is_empty() {
                info.labels.clone_from(&labels);
            }
            for path in mask.paths() {
                if !update_map("labels", path, &mut info.labels, &labels) {
                    return Err(Error::invalid_argument(format!("cannot update {path:?} field on snapshot {key:?}")));
                }
            }
            validate_labels(&info.labels).map_err(|error| error.context("info.Labels"))?;
            drop_empty(&mut info.labels);
            info.updated_at = Timestamp::now();
            tx.put_record(&record::key(&request, &name, &key), &record);
            Ok(record)
        })?;
        let db = self.core.db.read()?;
        updated.with(&db, scope, &snapshotter.name, |snapshot| snapshotter.driver.update(snapshot))?;
        with_driver_labels(&db, scope, snapshotter, updated)
    }

    /// The snapshots that match, by key.
    pub fn list_snapshots(&self, scope: &Scope, snapshotter: &str, filter: &Filter) -> Result<Vec<SnapshotInfo>> {
        let snapshotter = self.snapshotter(snapshotter)?;
        let db = self.core.db.read()?;
        let mut records = Vec::new();
        db.each(&Key::prefix(Kind::Snapshot, &[scope.namespace.as_str(), &snapshotter.name]), |path, value| {
            use crate::db::Record as _;
            records.push(SnapshotRecord::from_bytes(path.last().copied().unwrap_or_default(), value)?);
            Ok(())
        })?;
        let mut infos = Vec::with_capacity(records.len());
        for record in records {
            let info = match with_driver_labels(&db, scope, snapshotter, record) {
                Ok(info) => info,
                // Removed meanwhile.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            if filter.matches(&info) {
                infos.push(info);
            }
        }
        Ok(infos)
    }

    /// What a snapshot takes on disk, without its parents. The disk is walked, of a committed one the first time.
    pub fn snapshot_usage(&self, scope: &Scope, snapshotter: &str, key: &str) -> Result<Usage> {
        let snapshotter = self.snapshotter(snapshotter)?;
        let db = self.core.db.read()?;
        let record = SnapshotRecord::get(&db, scope, &snapshotter.name, key)?;
        if let Some(usage) = record.usage {
            return Ok(usage);
        }
        let usage = record.with(&db, scope, &snapshotter.name, |snapshot| snapshotter.driver.usage(snapshot))?;
        drop(db);
        if record.info.kind == SnapshotKind::Committed && snapshotter.driver.usage_is_fixed() {
            let (scope, snapshotter) = (scope.clone(), snapshotter.name.clone());
            self.core.db.write(move |tx| record.remember(tx, &scope, &snapshotter, usage))?;
        }
        Ok(usage)
    }

    /// Removes files that belong to no snapshot.
    pub fn cleanup_snapshotter(&self, snapshotter: &str) -> Result<()> {
        self.core.cleanup_snapshotter(self.snapshotter(snapshotter)?)
    }

    pub(crate) fn snapshotter(&self, name: &str) -> Result<&Snapshotter> {
        if name.is_empty() {
            return Err(Error::invalid_argument("snapshotter argument missing"));
        }
        let found = self.core.snapshotters.iter().find(|snapshotter| snapshotter.name == name);
        found.ok_or_else(|| Error::invalid_argument(format!("snapshotter not loaded: {name}")))
    }
}

impl crate::store::Core {
    /// Lets the driver remove what has no record.
    pub(crate) fn cleanup_snapshotter(&self, snapshotter: &Snapshotter) -> Result<()> {
        let _adopted = snapshotter.adopting.write().unwrap_or_else(PoisonError::into_inner);
        snapshotter.driver.cleanup(&|| {
            // In this order: what is no longer in flight has its record by now.
            let mut live = snapshotter.in_flight.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let db = self.db.read()?;
            db.each(&Key::prefix(Kind::Snapshot, &[]), |path, value| {
                use crate::db::Record as _;
                if path.get(1) == Some(&snapshotter.name.as_str()) {
                    let record = SnapshotRecord::from_bytes(path.last().copied().unwrap_or_default(), value)?;
                    live.ids.insert(record.id);
                    live.keys.insert(record.backend);
                }
                Ok(())
            })?;
            Ok(live)
        })
    }
}

/// The record with what the driver has to add; the record's own labels win.
fn with_driver_labels(
    db: &impl Read,
    scope: &Scope,
    snapshotter: &Snapshotter,
    record: SnapshotRecord,
) -> Result<SnapshotInfo> {
    let mut labels = record.with(db, scope, &snapshotter.name, |snapshot| snapshotter.driver.labels(snapshot))?;
    let mut info = record.info;
    labels.append(&mut info.labels);
    Ok(SnapshotInfo { labels, ..info })
}

/// Checks what every new snapshot must fulfil.
fn validate(what: &str, key: &str, labels: &Labels) -> Result<()> {
    Key::check(what, key)?;
    validate_labels(labels).map_err(|error| error.context("info.Labels"))
}

/// The label that names a snapshot the driver may have already.
const TARGET: &str = "containerd.io/snapshot.ref";

/// The labels that drivers see.
fn inherited(labels: &Labels) -> Labels {
    let shown = |key: &str| key == TARGET || key.starts_with("containerd.io/snapshot/");
    labels.iter().filter(|(key, _)| shown(key)).map(|(key, value)| (key.clone(), value.clone())).collect()
}

/// The snapshot `key`, whatever its record says: what a driver is asked to make.
fn as_asked<'a>(kind: SnapshotKind, id: u64, key: &'a str, parent: &'a Parents, labels: &'a Labels) -> Snapshot<'a> {
    Snapshot { kind, id, parents: &parent.ids, key, parent: &parent.backend, labels }
}

/// A snapshot's ancestors.
#[derive(Debug, Default)]
pub(crate) struct Parents {
    /// Their numbers, nearest first.
    ids: Vec<u64>,
    /// What the driver calls the nearest, or empty.
    backend: String,
}
