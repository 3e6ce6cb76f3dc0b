//! One request's view of the database while it writes.

use super::{Key, Record, storage};
use model::{Error, Event, Filter, Namespace, Result, filter::Adaptor};
use redb::{ReadOnlyTable, ReadableTable, Table};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    ops::ControlFlow,
};

/// What can be read, inside a transaction or not.
pub(crate) trait Read {
    /// The value of `key`.
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>>;

    /// Visits the keys that begin with `prefix`, in order, until told to stop.
    fn scan(&self, prefix: &Key, visit: &mut Visit<'_>) -> Result<()>;

    /// Whether there is a record `key`.
    fn contains(&self, key: &Key) -> Result<bool> {
        Ok(self.get(key)?.is_some())
    }

    /// The record `key`, whose last component is `name`.
    fn record<R: Record>(&self, key: &Key, name: &str) -> Result<Option<R>>
    where
        Self: Sized,
    {
        self.get(key)?.map(|bytes| R::from_bytes(name, &bytes)).transpose()
    }

    /// Visits the records below `prefix` with their key's components.
    fn each(&self, prefix: &Key, mut visit: impl FnMut(&[&str], &[u8]) -> Result<()>) -> Result<()>
    where
        Self: Sized,
    {
        self.scan(prefix, &mut |key, value| {
            let (_, path) = Key::parse(key)?;
            visit(&path, value)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Visits the records below `prefix` that `filter` matches, in the order of their names.
    fn each_matching<R: Record + Adaptor>(&self, prefix: &Key, filter: &Filter, mut visit: impl FnMut(R)) -> Result<()>
    where
        Self: Sized,
    {
        self.each(prefix, |path, value| {
            let record = R::from_bytes(path.last().copied().unwrap_or_default(), value)?;
            if filter.matches(&record) {
                visit(record);
            }
            Ok(())
        })
    }

    /// Fails with `missing` if there is no record `key`.
    fn require(&self, key: &Key, missing: impl FnOnce() -> Error) -> Result<()>
    where
        Self: Sized,
    {
        if self.contains(key)? { Ok(()) } else { Err(missing()) }
    }

    /// Whether no key begins with `prefix`.
    fn is_empty(&self, prefix: &Key) -> Result<bool> {
        let mut empty = true;
        self.scan(prefix, &mut |_, _| {
            empty = false;
            Ok(ControlFlow::Break(()))
        })?;
        Ok(empty)
    }
}

/// Takes a key and its value, and says whether to go on.
pub(crate) type Visit<'a> = dyn FnMut(&[u8], &[u8]) -> Result<ControlFlow<()>> + 'a;

/// The database as of one moment.
pub(crate) struct Reader(ReadOnlyTable<&'static [u8], &'static [u8]>);

impl Reader {
    pub(super) fn new(table: ReadOnlyTable<&'static [u8], &'static [u8]>) -> Self {
        Self(table)
    }
}

impl Read for Reader {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        read(&self.0, key)
    }

    fn scan(&self, prefix: &Key, visit: &mut Visit<'_>) -> Result<()> {
        for entry in self.0.range(prefix.as_ref()..).map_err(|error| storage("scan", error))? {
            let (key, value) = entry.map_err(|error| storage("scan", error))?;
            if !key.value().starts_with(prefix.as_ref()) || visit(key.value(), value.value())?.is_break() {
                break;
            }
        }
        Ok(())
    }
}

/// What a request does beside its writes, once they are committed.
#[derive(Debug, Default)]
pub(crate) struct Effects {
    /// To be published, in order.
    pub(crate) events: Vec<(Namespace, Event)>,
    /// Whether anything was written.
    pub(crate) mutated: bool,
    /// Objects or references removed, so that there may be garbage.
    pub(crate) deletions: u32,
    /// Whether files of blobs or ingests may have become garbage.
    pub(crate) content: bool,
    /// Snapshotters whose files may have become garbage.
    pub(crate) snapshotters: BTreeSet<String>,
    /// Whether it was garbage collection itself.
    pub(crate) by_collector: bool,
}

/// A request's changes on top of the table. They reach it only when the request has succeeded.
pub(crate) struct Tx<'a, 't> {
    table: &'a Table<'t, &'static [u8], &'static [u8]>,
    changes: BTreeMap<Key, Option<Vec<u8>>>,
    effects: Effects,
    soon: bool,
    sync: bool,
    barrier: &'a mut Barrier,
}

/// Keys written since garbage collection began to mark, or `None` while it does not run. Only the
/// committing thread sees it, so it is exact.
pub(crate) type Barrier = Option<HashSet<Key>>;

/// A request's outcome for the committer.
pub(super) struct Changes {
    pub(super) writes: BTreeMap<Key, Option<Vec<u8>>>,
    pub(super) effects: Effects,
    /// Whether it may become durable a little later.
    pub(super) soon: bool,
    /// Whether it makes durable what was written before it.
    pub(super) sync: bool,
}

impl<'a, 't> Tx<'a, 't> {
    pub(super) fn new(table: &'a Table<'t, &'static [u8], &'static [u8]>, barrier: &'a mut Barrier) -> Self {
        Self { table, changes: BTreeMap::new(), effects: Effects::default(), soon: false, sync: false, barrier }
    }

    pub(super) fn finish(mut self) -> Changes {
        if let Some(written) = self.barrier {
            written.extend(self.changes.iter().filter(|(_, value)| value.is_some()).map(|(key, _)| key.clone()));
        }
        self.effects.mutated = !self.changes.is_empty();
        Changes { writes: self.changes, effects: self.effects, soon: self.soon, sync: self.sync }
    }

    /// Writes `value` under `key`.
    pub(crate) fn put(&mut self, key: &Key, value: Vec<u8>) {
        self.changes.insert(key.clone(), Some(value));
    }

    /// Writes `record` under `key`.
    pub(crate) fn put_record(&mut self, key: &Key, record: &impl Record) {
        self.put(key, record.to_bytes());
    }

    /// Deletes `key`, if it is there.
    pub(crate) fn delete(&mut self, key: &Key) {
        self.changes.insert(key.clone(), None);
    }

    /// Publishes `event` after the commit.
    pub(crate) fn emit(&mut self, namespace: &Namespace, event: Event) {
        self.effects.events.push((namespace.clone(), event));
    }

    /// What else happens after the commit.
    pub(crate) fn effects(&mut self) -> &mut Effects {
        &mut self.effects
    }

    /// Lets this be acknowledged before it is durable, which it will be after the next request that cannot
    /// wait, or in a moment. For what a crash may undo because its owner would do it again.
    pub(crate) fn durable_soon(&mut self) {
        self.soon = true;
    }

    /// Makes durable what was acknowledged before it was, by any request up to this one.
    pub(super) fn sync(&mut self) {
        self.sync = true;
    }

    /// The keys written by others while garbage is collected.
    pub(crate) fn barrier(&mut self) -> &mut Barrier {
        self.barrier
    }
}

impl Read for Tx<'_, '_> {
    fn get(&self, key: &Key) -> Result<Option<Vec<u8>>> {
        match self.changes.get(key) {
            Some(change) => Ok(change.clone()),
            None => read(self.table, key),
        }
    }

    fn scan(&self, prefix: &Key, visit: &mut Visit<'_>) -> Result<()> {
        let changed = self.changes.range(prefix..).take_while(|(key, _)| key.as_ref().starts_with(prefix.as_ref()));
        let mut changed = changed.peekable();
        for entry in self.table.range(prefix.as_ref()..).map_err(|error| storage("scan", error))? {
            let (key, value) = entry.map_err(|error| storage("scan", error))?;
            let key = key.value();
            if !key.starts_with(prefix.as_ref()) {
                break;
            }
            while let Some((before, value)) = changed.next_if(|(changed, _)| changed.as_ref() < key) {
                if let Some(value) = value
                    && visit(before.as_ref(), value)?.is_break()
                {
                    return Ok(());
                }
            }
            let flow = match changed.next_if(|(changed, _)| changed.as_ref() == key) {
                Some((_, None)) => ControlFlow::Continue(()),
                Some((_, Some(value))) => visit(key, value)?,
                None => visit(key, value.value())?,
            };
            if flow.is_break() {
                return Ok(());
            }
        }
        for (key, value) in changed {
            if let Some(value) = value
                && visit(key.as_ref(), value)?.is_break()
            {
                break;
            }
        }
        Ok(())
    }
}

fn read(table: &impl ReadableTable<&'static [u8], &'static [u8]>, key: &Key) -> Result<Option<Vec<u8>>> {
    let value = table.get(key.as_ref()).map_err(|error| storage("read", error))?;
    Ok(value.map(|value| value.value().to_vec()))
}
