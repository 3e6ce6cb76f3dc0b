//! Which objects are reachable.

use super::labels::{EXPIRE, FLAT, Meaning, is_expired, meaning};
use crate::{
    containers,
    db::{Decoder, Key, Kind, Read, Record},
    ingests::Ingest,
    leases,
    snapshots::SnapshotRecord,
};
use model::{Image, Lease, Resource, Result, Timestamp};
use std::collections::{HashMap, HashSet};

/// The kinds of objects that collection knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum NodeKind {
    Lease,
    Image,
    Container,
    Ingest,
    Content,
    /// Its key is `<snapshotter>/<key>`.
    Snapshot,
}

/// An object, which need not exist.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Node {
    pub(super) kind: NodeKind,
    pub(super) namespace: String,
    pub(super) key: String,
    /// Reached through a flat lease: its labels do not count.
    pub(super) flat: bool,
}

impl Node {
    pub(super) fn new(kind: NodeKind, namespace: &str, key: &str) -> Self {
        Self { kind, namespace: namespace.to_owned(), key: key.to_owned(), flat: false }
    }

    pub(super) fn snapshot(namespace: &str, snapshotter: &str, key: &str) -> Self {
        let key = format!("{snapshotter}/{key}");
        Self { kind: NodeKind::Snapshot, namespace: namespace.to_owned(), key, flat: false }
    }

    fn flat(mut self, flat: bool) -> Self {
        self.flat = flat;
        self
    }

    fn of_resource(namespace: &str, resource: &Resource) -> Self {
        match resource {
            Resource::Content(digest) => Self::new(NodeKind::Content, namespace, digest),
            Resource::Ingest(reference) => Self::new(NodeKind::Ingest, namespace, reference),
            Resource::Image(name) => Self::new(NodeKind::Image, namespace, name),
            Resource::Snapshot(snapshotter, key) => Self::snapshot(namespace, snapshotter, key),
        }
    }

    /// Snapshotter and key of a snapshot.
    pub(super) fn snapshot_path(&self) -> (&str, &str) {
        self.key.split_once('/').unwrap_or((&self.key, ""))
    }

    /// The record's key.
    pub(super) fn record_key(&self) -> Key {
        let namespace = self.namespace.as_str();
        let kind = match self.kind {
            NodeKind::Lease => Kind::Lease,
            NodeKind::Image => Kind::Image,
            NodeKind::Container => Kind::Container,
            NodeKind::Ingest => Kind::Ingest,
            NodeKind::Content => Kind::Blob,
            NodeKind::Snapshot => {
                let (snapshotter, key) = self.snapshot_path();
                return Key::new(Kind::Snapshot, &[namespace, snapshotter, key]);
            }
        };
        Key::new(kind, &[namespace, &self.key])
    }
}

/// What has been found reachable, and what was found to be there.
#[derive(Debug, Default)]
pub(super) struct Marking {
    marked: HashSet<Node>,
    /// Objects that say themselves that the key keeps them.
    back_references: HashMap<Node, Vec<Node>>,
    /// What may be deleted if it is not marked, referrers first.
    pub(super) candidates: Vec<Node>,
}

impl Marking {
    /// Marks everything reachable in `db`, and lists the rest.
    pub(super) fn of(db: &impl Read) -> Result<Self> {
        let mut marking = Self::default();
        let mut all = Vec::new();
        let roots = marking.scan(db, &mut all)?;
        marking.mark(db, roots)?;
        let unmarked: Vec<Node> = all.into_iter().filter(|node| !marking.is_marked(node)).collect();
        marking.candidates = marking.referrers_first(db, &unmarked)?;
        Ok(marking)
    }

    /// Whether the object is reachable, whichever way.
    pub(super) fn is_marked(&self, node: &Node) -> bool {
        self.marked.contains(node) || self.marked.contains(&node.clone().flat(true))
    }

    /// Marks what the record `key`, written meanwhile, is and refers to.
    pub(super) fn mark_written(&mut self, db: &impl Read, key: &Key) -> Result<()> {
        // Neither schema nor sequence refers to anything.
        let Ok((kind, path)) = Key::parse(key.as_ref()) else { return Ok(()) };
        let nodes = match (kind, path.as_slice()) {
            (Kind::Lease, [namespace, id]) => vec![Node::new(NodeKind::Lease, namespace, id)],
            (Kind::Image, [namespace, name]) => vec![Node::new(NodeKind::Image, namespace, name)],
            (Kind::Container, [namespace, id]) => vec![Node::new(NodeKind::Container, namespace, id)],
            (Kind::Blob, [namespace, digest]) => vec![Node::new(NodeKind::Content, namespace, digest)],
            (Kind::Ingest, [namespace, reference]) => vec![Node::new(NodeKind::Ingest, namespace, reference)],
            (Kind::Snapshot, [namespace, snapshotter, key]) => vec![Node::snapshot(namespace, snapshotter, key)],
            (Kind::LeaseResource, [namespace, lease, ..]) => {
                let lease: Option<Lease> = db.record(&Key::new(Kind::Lease, &[namespace, lease]), lease)?;
                let flat = lease.is_some_and(|lease| lease.labels.contains_key(FLAT));
                vec![Node::of_resource(namespace, &leases::resource(&path)?).flat(flat)]
            }
            (Kind::Sandbox, [namespace, _]) => {
                let value = db.get(key)?.unwrap_or_default();
                let mut nodes = Vec::new();
                labelled(namespace, &value, |meaning| nodes.extend(reference(meaning)))?;
                nodes
            }
            _ => Vec::new(),
        };
        for node in &nodes {
            // Marked before or not, it may refer to others now.
            self.marked.remove(node);
        }
        self.mark(db, nodes)
    }

    /// Marks `nodes` and all they refer to.
    fn mark(&mut self, db: &impl Read, mut nodes: Vec<Node>) -> Result<()> {
        while let Some(node) = nodes.pop() {
            if self.marked.contains(&node) {
                continue;
            }
            self.references(db, &node, &mut nodes)?;
            self.marked.insert(node);
        }
        Ok(())
    }

    /// Adds what `node` refers to, and what it keeps by back references.
    fn references(&self, db: &impl Read, node: &Node, to: &mut Vec<Node>) -> Result<()> {
        to.extend(self.back_references.get(node).into_iter().flatten().cloned());
        if node.kind == NodeKind::Lease {
            return Ok(());
        }
        // It may not exist: references are not checked when they are made.
        match db.get(&node.record_key())? {
            Some(value) => references_in(node, &value, to),
            None => Ok(()),
        }
    }

    /// Reads every record once: returns the roots, notes back references, and fills `all` with what may
    /// be deleted.
    fn scan(&mut self, db: &impl Read, all: &mut Vec<Node>) -> Result<Vec<Node>> {
        let now = Timestamp::now();
        let mut roots = Vec::new();
        let mut flat_leases = HashMap::new();
        db.each(&Key::prefix(Kind::Lease, &[]), |path, value| {
            let &[namespace, id] = path else { return Ok(()) };
            let lease = Lease::from_bytes(id, value)?;
            let node = Node::new(NodeKind::Lease, namespace, id);
            all.push(node.clone());
            if !lease.labels.get(EXPIRE).is_some_and(|expiry| is_expired(expiry, now)) {
                flat_leases.insert((namespace.to_owned(), id.to_owned()), lease.labels.contains_key(FLAT));
                roots.push(node);
            }
            Ok(())
        })?;
        db.each(&Key::prefix(Kind::LeaseResource, &[]), |path, _| {
            let &[namespace, lease, ..] = path else { return Ok(()) };
            if let Some(flat) = flat_leases.get(&(namespace.to_owned(), lease.to_owned())) {
                roots.push(Node::of_resource(namespace, &leases::resource(path)?).flat(*flat));
            }
            Ok(())
        })?;
        db.each(&Key::prefix(Kind::Ingest, &[]), |path, value| {
            let &[namespace, reference] = path else { return Ok(()) };
            let node = Node::new(NodeKind::Ingest, namespace, reference);
            all.push(node.clone());
            if Ingest::from_bytes(reference, value)?.expires_at.is_some_and(|expiry| now <= expiry) {
                roots.push(node);
            }
            Ok(())
        })?;
        for kind in [Kind::Image, Kind::Blob, Kind::Snapshot, Kind::Container, Kind::Sandbox] {
            db.each(&Key::prefix(kind, &[]), |path, value| {
                self.scan_labelled(kind, path, value, now, all, &mut roots)
            })?;
        }
        // Those that were marked on the way, before all back references were known.
        for (to, from) in &self.back_references {
            if self.marked.contains(to) {
                roots.extend_from_slice(from);
            }
        }
        Ok(roots)
    }

    fn scan_labelled(
        &mut self,
        kind: Kind,
        path: &[&str],
        value: &[u8],
        now: Timestamp,
        all: &mut Vec<Node>,
        roots: &mut Vec<Node>,
    ) -> Result<()> {
        let node = match (kind, path) {
            (Kind::Image, [namespace, name]) => Node::new(NodeKind::Image, namespace, name),
            (Kind::Blob, [namespace, digest]) => Node::new(NodeKind::Content, namespace, digest),
            (Kind::Container, [namespace, id]) => Node::new(NodeKind::Container, namespace, id),
            (Kind::Snapshot, [namespace, snapshotter, key]) => Node::snapshot(namespace, snapshotter, key),
            // A sandbox is nobody's garbage; what it refers to is kept.
            (Kind::Sandbox, [namespace, _]) => {
                return labelled(namespace, value, |meaning| roots.extend(reference(meaning)));
            }
            _ => return Ok(()),
        };
        let mut is_root = node.kind == NodeKind::Container || (node.kind == NodeKind::Image && !expired(value, now)?);
        let keeps_itself = matches!(node.kind, NodeKind::Content | NodeKind::Snapshot);
        labelled(&node.namespace, value, |meaning| match meaning {
            Meaning::Root => is_root |= keeps_itself,
            Meaning::BackReference(to) => self.back_references.entry(to).or_default().push(node.clone()),
            Meaning::Reference(_) => {}
        })?;
        if is_root {
            // The record is at hand, so it need not be read again.
            references_in(&node, value, roots)?;
            self.marked.insert(node.clone());
        }
        if node.kind != NodeKind::Container {
            all.push(node);
        }
        Ok(())
    }

    /// Orders unmarked objects so that none comes before one that refers to it.
    fn referrers_first(&self, db: &impl Read, unmarked: &[Node]) -> Result<Vec<Node>> {
        let garbage: HashSet<&Node> = unmarked.iter().collect();
        let mut seen = HashSet::new();
        let mut order = Vec::with_capacity(unmarked.len());
        for start in unmarked {
            // Depth first: (node, whether its references are done).
            let mut stack = vec![(start.clone(), false)];
            while let Some((node, done)) = stack.pop() {
                if done {
                    order.push(node);
                    continue;
                }
                if !garbage.contains(&node) || !seen.insert(node.clone()) {
                    continue;
                }
                let mut references = Vec::new();
                self.references(db, &node, &mut references)?;
                stack.push((node, true));
                stack.extend(references.into_iter().map(|reference| (reference.flat(false), false)));
            }
        }
        order.reverse();
        Ok(order)
    }
}

/// Adds what the record `value` of `node` refers to.
fn references_in(node: &Node, value: &[u8], to: &mut Vec<Node>) -> Result<()> {
    let namespace = node.namespace.as_str();
    match node.kind {
        NodeKind::Image => {
            let image = Image::from_bytes(&node.key, value)?;
            let target = Node::new(NodeKind::Content, namespace, image.target.digest.as_str());
            to.push(target.flat(node.flat));
        }
        NodeKind::Container => {
            if let Some((snapshotter, key)) = containers::snapshot_of(&node.key, value)? {
                to.push(Node::snapshot(namespace, &snapshotter, &key));
            }
        }
        NodeKind::Snapshot => {
            let (snapshotter, key) = node.snapshot_path();
            let parent = SnapshotRecord::from_bytes(key, value)?.info.parent;
            if !parent.is_empty() {
                to.push(Node::snapshot(namespace, snapshotter, &parent).flat(node.flat));
            }
        }
        NodeKind::Ingest => {
            let expected = Ingest::from_bytes(&node.key, value)?.expected;
            to.extend(expected.map(|digest| Node::new(NodeKind::Content, namespace, digest.as_str())));
            return Ok(());
        }
        NodeKind::Content | NodeKind::Lease => {}
    }
    if node.flat {
        return Ok(());
    }
    labelled(namespace, value, |meaning| to.extend(reference(meaning)))
}

/// Calls `visit` with what the labels of a record mean. They come first in every record that has them.
fn labelled(namespace: &str, value: &[u8], mut visit: impl FnMut(Meaning)) -> Result<()> {
    if value.is_empty() {
        return Ok(());
    }
    Decoder::versioned(u8::MAX, value)?.pairs(|key, value| {
        if let Some(meaning) = meaning(namespace, key, value) {
            visit(meaning);
        }
    })
}

fn reference(meaning: Meaning) -> Option<Node> {
    match meaning {
        Meaning::Reference(node) => Some(node),
        Meaning::BackReference(_) | Meaning::Root => None,
    }
}

fn expired(value: &[u8], now: Timestamp) -> Result<bool> {
    let mut expired = false;
    Decoder::versioned(u8::MAX, value)?.pairs(|key, value| expired |= key == EXPIRE && is_expired(value, now))?;
    Ok(expired)
}
