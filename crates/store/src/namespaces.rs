//! Namespaces: tenants. The first object written to one creates it.

use crate::{
    Store,
    db::{Decoder, Encoder, Key, Kind, Read, Record, Tx},
    mask::{drop_empty, update_map},
};
use model::{
    Error, Event, FieldMask, Labels, Namespace, NamespaceInfo, Result, Scope, validate_identifier, validate_labels,
};

/// The label by which a namespace lets all others use its blobs.
pub(crate) const SHAREABLE: &str = "containerd.io/namespace.shareable";

impl Store {
    /// The namespace `name`; one that does not exist has no labels (as in containerd, not `NotFound`).
    pub fn get_namespace(&self, name: &str) -> Result<NamespaceInfo> {
        let found = self.core.db.read()?.record(&key(name), name)?;
        Ok(found.unwrap_or_else(|| NamespaceInfo { name: name.to_owned(), labels: Labels::new() }))
    }

    /// All namespaces by name.
    pub fn list_namespaces(&self) -> Result<Vec<NamespaceInfo>> {
        namespaces(&self.core.db.read()?)
    }

    /// Creates a namespace. `AlreadyExists` also if an object created it.
    pub fn create_namespace(&self, mut info: NamespaceInfo) -> Result<NamespaceInfo> {
        validate_identifier(&info.name)?;
        let namespace = Namespace::new(&info.name)?;
        check_labels(&info.labels)?;
        drop_empty(&mut info.labels);
        self.core.db.write(move |tx| {
            let key = key(&info.name);
            if tx.contains(&key)? {
                return Err(Error::already_exists(format!("namespace {:?}", info.name)));
            }
            tx.put_record(&key, &info);
            tx.emit(&namespace, Event::NamespaceCreate { name: info.name.clone(), labels: info.labels.clone() });
            Ok(info)
        })
    }

    /// Replaces the labels, or those `labels.<key>` that `mask` names. One that does not exist is created.
    pub fn update_namespace(&self, info: NamespaceInfo, mask: &FieldMask) -> Result<NamespaceInfo> {
        validate_identifier(&info.name)?;
        let namespace = Namespace::new(&info.name)?;
        check_labels(&info.labels)?;
        for path in mask.paths() {
            if !path.starts_with("labels.") {
                return Err(Error::invalid_argument(format!("cannot update {path:?} field")));
            }
        }
        let mask = mask.clone();
        self.core.db.write(move |tx| {
            let key = key(&info.name);
            let mut updated: NamespaceInfo = tx
                .record(&key, &info.name)?
                .unwrap_or_else(|| NamespaceInfo { name: info.name.clone(), labels: Labels::new() });
            if mask.is_empty() {
                updated.labels.clone_from(&info.labels);
            }
            for path in mask.paths() {
                update_map("labels", path, &mut updated.labels, &info.labels);
            }
            drop_empty(&mut updated.labels);
            tx.put_record(&key, &updated);
            tx.emit(&namespace, Event::NamespaceUpdate { name: info.name, labels: info.labels });
            Ok(updated)
        })
    }

    /// Deletes a namespace without images, blobs, containers and snapshots; `FailedPrecondition` says what
    /// it still has. Its leases, ingests and sandboxes go with it.
    pub fn delete_namespace(&self, name: &str) -> Result<()> {
        let name = name.to_owned();
        self.core.db.write(move |tx| {
            let key = key(&name);
            if !tx.contains(&key)? {
                return Err(Error::not_found(format!("namespace {name:?}")));
            }
            let left = remaining(tx, &name)?;
            if !left.is_empty() {
                let left = left.join(", ");
                return Err(Error::failed_precondition(format!(
                    "namespace {name:?} must be empty, but it still has {left}"
                )));
            }
            for kind in [Kind::Lease, Kind::LeaseResource, Kind::Ingest, Kind::Sandbox] {
                delete_below(tx, &Key::prefix(kind, &[&name]))?;
            }
            tx.delete(&key);
            tx.effects().content = true;
            tx.emit(&Namespace::new(&name)?, Event::NamespaceDelete { name });
            Ok(())
        })
    }
}

/// All namespaces by name.
pub(crate) fn namespaces(db: &impl Read) -> Result<Vec<NamespaceInfo>> {
    let mut all = Vec::new();
    db.each(&Key::prefix(Kind::Namespace, &[]), |path, value| {
        let name = path.last().copied().unwrap_or_default();
        all.push(NamespaceInfo::from_bytes(name, value)?);
        Ok(())
    })?;
    Ok(all)
}

/// Creates the namespace of `scope` if this is the first thing in it.
pub(crate) fn ensure_namespace(tx: &mut Tx<'_, '_>, scope: &Scope) -> Result<()> {
    let name = scope.namespace.as_str();
    let key = key(name);
    if !tx.contains(&key)? {
        tx.put_record(&key, &NamespaceInfo { name: name.to_owned(), labels: Labels::new() });
    }
    Ok(())
}

/// Deletes every record below `prefix`.
pub(crate) fn delete_below(tx: &mut Tx<'_, '_>, prefix: &Key) -> Result<()> {
    let mut keys = Vec::new();
    tx.scan(prefix, &mut |key, _| {
        keys.push(Key::from(key));
        Ok(std::ops::ControlFlow::Continue(()))
    })?;
    for key in &keys {
        tx.delete(key);
    }
    Ok(())
}

/// The kinds of objects that keep the namespace `name` from being deleted.
fn remaining(tx: &Tx<'_, '_>, name: &str) -> Result<Vec<String>> {
    let mut left = Vec::new();
    for (kind, what) in [(Kind::Image, "images"), (Kind::Blob, "blobs"), (Kind::Container, "containers")] {
        if !tx.is_empty(&Key::prefix(kind, &[name]))? {
            left.push(what.to_owned());
        }
    }
    let mut snapshotters = Vec::new();
    tx.each(&Key::prefix(Kind::Snapshot, &[name]), |path, _| {
        let snapshotter = path.get(1).copied().unwrap_or_default().to_owned();
        if snapshotters.last() != Some(&snapshotter) {
            snapshotters.push(snapshotter);
        }
        Ok(())
    })?;
    left.extend(snapshotters.iter().map(|snapshotter| format!("snapshots on {snapshotter:?} snapshotter")));
    Ok(left)
}

fn check_labels(labels: &Labels) -> Result<()> {
    validate_labels(labels).map_err(|error| error.context("namespace.Labels"))
}

fn key(name: &str) -> Key {
    Key::new(Kind::Namespace, &[name])
}

impl Record for NamespaceInfo {
    fn encode(&self, out: &mut Encoder) {
        out.labels(&self.labels);
    }

    fn decode(name: &str, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self { name: name.to_owned(), labels: from.labels()? })
    }
}
