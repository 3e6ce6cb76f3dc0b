//! Deleting the records of what is not reachable.

use super::{
    Dirty,
    mark::{Marking, Node, NodeKind},
};
use crate::{
    db::{Db, Key, Kind, Read, Tx},
    namespaces::delete_below,
    snapshots::SnapshotRecord,
};
use model::{Event, Namespace, Result, Scope};

/// Most records deleted in one transaction, so that requests do not wait long.
const CHUNK: usize = 500;

/// From when this returns on, every key written is noted.
pub(super) fn raise_barrier(db: &Db) -> Result<()> {
    db.write(|tx| {
        *tx.barrier() = Some(std::collections::HashSet::new());
        Ok(())
    })
}

/// Ends the noting.
pub(super) fn lower_barrier(db: &Db) -> Result<()> {
    db.write(|tx| {
        *tx.barrier() = None;
        Ok(())
    })
}

/// Deletes the candidates that are still garbage; returns how many, and adds whose files are to go.
pub(super) fn sweep(db: &Db, mut marking: Marking, dirty: &mut Dirty) -> Result<usize> {
    let mut candidates = std::mem::take(&mut marking.candidates);
    let mut removed = 0;
    while !candidates.is_empty() {
        let rest = candidates.split_off(candidates.len().min(CHUNK));
        let chunk = std::mem::replace(&mut candidates, rest);
        let (kept, gone, touched) = db.write(move |tx| {
            let mut touched = Dirty::default();
            let gone = sweep_chunk(tx, &mut marking, &chunk, &mut touched)?;
            Ok((marking, gone, touched))
        })?;
        marking = kept;
        removed += gone;
        dirty.content |= touched.content;
        dirty.snapshotters.extend(touched.snapshotters);
    }
    Ok(removed)
}

fn sweep_chunk(tx: &mut Tx<'_, '_>, marking: &mut Marking, chunk: &[Node], dirty: &mut Dirty) -> Result<usize> {
    tx.effects().by_collector = true;
    if let Some(written) = tx.barrier().replace(std::collections::HashSet::new()) {
        for key in &written {
            marking.mark_written(tx, key)?;
        }
    }
    let mut removed = 0;
    for node in chunk.iter().filter(|node| !marking.is_marked(node)) {
        removed += usize::from(remove(tx, node, dirty)?);
    }
    Ok(removed)
}

/// Deletes the record of `node`, unless a request has.
fn remove(tx: &mut Tx<'_, '_>, node: &Node, dirty: &mut Dirty) -> Result<bool> {
    let key = node.record_key();
    if !tx.contains(&key)? {
        return Ok(false);
    }
    let namespace = Namespace::new(&node.namespace)?;
    match node.kind {
        NodeKind::Lease => {
            tx.delete(&key);
            delete_below(tx, &Key::prefix(Kind::LeaseResource, &[&node.namespace, &node.key]))?;
        }
        NodeKind::Image => {
            tx.delete(&key);
            tx.emit(&namespace, Event::ImageDelete { name: node.key.clone() });
        }
        NodeKind::Content | NodeKind::Ingest => {
            tx.delete(&key);
            dirty.content = true;
        }
        NodeKind::Snapshot => {
            let (snapshotter, name) = node.snapshot_path();
            let scope = Scope::new(namespace.clone());
            SnapshotRecord::get(tx, &scope, snapshotter, name)?.delete(tx, &scope, snapshotter);
            dirty.snapshotters.insert(snapshotter.to_owned());
            let (key, snapshotter) = (name.to_owned(), snapshotter.to_owned());
            tx.emit(&namespace, Event::SnapshotRemove { key, snapshotter });
        }
        // Containers are roots.
        NodeKind::Container => return Ok(false),
    }
    tracing::debug!(kind = ?node.kind, namespace = node.namespace, key = node.key, "collected");
    Ok(true)
}
