//! A snapshot's record and its links.

use super::{Parents, inherited};
use crate::{
    db::{Decoder, Encoder, Key, Kind, Read, Record, Tx},
    snapshot::Snapshot,
};
use model::{Error, Result, Scope, SnapshotInfo, SnapshotKind, Usage};

/// Longest chain of parents followed: overlayfs mounts no more than 500 layers, so a longer one is a loop.
const DEEPEST: usize = 10_000;

/// What is stored of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotRecord {
    /// What clients see.
    pub(crate) info: SnapshotInfo,
    /// Its number, which local drivers name its directory by.
    pub(crate) id: u64,
    /// What a remote driver calls it.
    pub(crate) backend: String,
    /// What it takes on disk, once that is fixed and somebody has asked.
    pub(crate) usage: Option<Usage>,
}

impl SnapshotRecord {
    /// The snapshot `key`, or `NotFound`.
    pub(crate) fn get(db: &impl Read, scope: &Scope, snapshotter: &str, key: &str) -> Result<Self> {
        let found = Self::find(db, scope, snapshotter, key)?;
        found.ok_or_else(|| Error::not_found(format!("snapshot {key} does not exist")))
    }

    pub(crate) fn find(db: &impl Read, scope: &Scope, snapshotter: &str, name: &str) -> Result<Option<Self>> {
        db.record(&key(scope, snapshotter, name), name)
    }

    /// The snapshot `parent` as a parent, or none if that is empty.
    pub(crate) fn parent(db: &impl Read, scope: &Scope, snapshotter: &str, parent: &str) -> Result<Option<Self>> {
        if parent.is_empty() {
            return Ok(None);
        }
        let found = Self::find(db, scope, snapshotter, parent)?;
        let record = found.ok_or_else(|| Error::not_found(format!("parent snapshot {parent} does not exist")))?;
        if record.info.kind != SnapshotKind::Committed {
            return Err(Error::invalid_argument(format!("parent {parent:?} is not committed snapshot")));
        }
        Ok(Some(record))
    }

    /// The ancestors of a snapshot whose parent is `parent`.
    pub(crate) fn parents(parent: Option<&Self>, db: &impl Read, scope: &Scope, snapshotter: &str) -> Result<Parents> {
        let Some(nearest) = parent else { return Ok(Parents::default()) };
        let mut parents = Parents { ids: vec![nearest.id], backend: nearest.backend.clone() };
        let mut next = nearest.info.parent.clone();
        while !next.is_empty() {
            if parents.ids.len() > DEEPEST {
                return Err(Error::data_loss(format!("snapshot {:?} is its own ancestor", nearest.info.name)));
            }
            let record = Self::get(db, scope, snapshotter, &next)?;
            parents.ids.push(record.id);
            next = record.info.parent;
        }
        Ok(parents)
    }

    /// Calls `driver` with this snapshot as drivers see it.
    pub(crate) fn with<T>(
        &self,
        db: &impl Read,
        scope: &Scope,
        snapshotter: &str,
        driver: impl FnOnce(&Snapshot<'_>) -> Result<T>,
    ) -> Result<T> {
        let parent = match self.info.parent.as_str() {
            "" => None,
            parent => Some(Self::get(db, scope, snapshotter, parent)?),
        };
        let parents = Self::parents(parent.as_ref(), db, scope, snapshotter)?;
        driver(&Snapshot {
            kind: self.info.kind,
            id: self.id,
            parents: &parents.ids,
            key: &self.backend,
            parent: &parents.backend,
            labels: &inherited(&self.info.labels),
        })
    }

    /// Writes the record and its parent's link.
    pub(crate) fn put(&self, tx: &mut Tx<'_, '_>, scope: &Scope, snapshotter: &str) {
        let (name, parent) = (&self.info.name, &self.info.parent);
        tx.put_record(&key(scope, snapshotter, name), self);
        if !parent.is_empty() {
            tx.put(&child_key(scope.namespace.as_str(), snapshotter, parent, name), Vec::new());
        }
    }

    /// Notes what the snapshot takes on disk, if it is still there.
    pub(crate) fn remember(&self, tx: &mut Tx<'_, '_>, scope: &Scope, snapshotter: &str, usage: Usage) -> Result<()> {
        let name = &self.info.name;
        if let Some(current) = Self::find(tx, scope, snapshotter, name)?.filter(|current| current.id == self.id) {
            tx.put_record(&key(scope, snapshotter, name), &Self { usage: Some(usage), ..current });
            tx.durable_soon();
        }
        Ok(())
    }

    /// Deletes the record and its parent's link.
    pub(crate) fn delete(&self, tx: &mut Tx<'_, '_>, scope: &Scope, snapshotter: &str) {
        let (name, parent) = (&self.info.name, &self.info.parent);
        tx.delete(&key(scope, snapshotter, name));
        if !parent.is_empty() {
            tx.delete(&child_key(scope.namespace.as_str(), snapshotter, parent, name));
        }
    }
}

pub(crate) fn key(scope: &Scope, snapshotter: &str, key: &str) -> Key {
    Key::new(Kind::Snapshot, &[scope.namespace.as_str(), snapshotter, key])
}

fn child_key(namespace: &str, snapshotter: &str, parent: &str, child: &str) -> Key {
    Key::new(Kind::SnapshotChild, &[namespace, snapshotter, parent, child])
}

impl Record for SnapshotRecord {
    fn encode(&self, out: &mut Encoder) {
        let info = &self.info;
        out.labels(&info.labels);
        out.time(info.created_at);
        out.time(info.updated_at);
        out.text(&info.parent);
        out.number(match info.kind {
            SnapshotKind::View => 1,
            SnapshotKind::Active => 2,
            SnapshotKind::Committed => 3,
        });
        out.number(self.id);
        out.text(&self.backend);
        out.option(self.usage.as_ref(), |out, usage| {
            out.number(usage.inodes);
            out.number(usage.size);
        });
    }

    fn decode(name: &str, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            info: SnapshotInfo {
                name: name.to_owned(),
                labels: from.labels()?,
                created_at: from.time()?,
                updated_at: from.time()?,
                parent: from.text()?,
                kind: match from.number()? {
                    1 => SnapshotKind::View,
                    2 => SnapshotKind::Active,
                    3 => SnapshotKind::Committed,
                    kind => return Err(Error::data_loss(format!("snapshot kind {kind} is unknown"))),
                },
            },
            id: from.number()?,
            backend: from.text()?,
            usage: from.option(|from| Ok(Usage { inodes: from.number()?, size: from.number()? }))?,
        })
    }
}
