//! What every [`Driver`] has to do, as tests that each implementation runs: real mounts, so as root.
//!
//! [`Bench`] stands in for the store: it draws ids and keeps kinds, parents and backend keys.

#![allow(clippy::unwrap_used, clippy::panic, clippy::expect_used, reason = "these are tests")]

mod files;
mod layers;

use super::{Capability, Commit, Driver, Live, Snapshot};
use model::{Labels, Mount, Result, SnapshotKind};
use std::{
    collections::HashMap,
    path::Path,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};
use sys::mount::TempMount;

type Check = fn(&Bench<'_>);

/// Runs every check on `driver`, which may hold snapshots of others; those of the namespace `conformance` are
/// removed in the end. Panics at the first that fails.
pub fn all(driver: &dyn Driver) {
    let bench = Bench::new(driver);
    let checks: &[(&str, Check)] = &[
        ("files", files::survive_commit_and_view),
        ("views", files::views_are_read_only),
        ("deletions", files::deletions_hide_what_is_below),
        ("changes", files::changes_leave_the_parent_alone),
        ("order", layers::the_nearest_parent_wins),
        ("depth", layers::a_hundred_and_twenty_eight),
        ("rebase", layers::a_parent_given_at_commit),
        ("usage", layers::usage_counts_the_snapshot_alone),
        ("owner", layers::the_root_keeps_its_parents_owner),
        ("id maps", layers::owners_are_shifted),
        ("cleanup", layers::cleanup_spares_what_is_live),
        ("concurrency", layers::many_at_once),
    ];
    for (name, check) in checks {
        announce(name);
        check(&bench);
        bench.remove_all();
    }
}

#[allow(clippy::print_stderr, reason = "the test runner shows it when the check fails")]
fn announce(name: &str) {
    eprintln!("conformance: {name}");
}

/// The store's part: what exists, under which id and backend key, above which parents.
struct Bench<'d> {
    driver: &'d dyn Driver,
    next: AtomicU64,
    records: Mutex<HashMap<String, Record>>,
}

#[derive(Clone)]
struct Record {
    kind: SnapshotKind,
    id: u64,
    parents: Vec<u64>,
    key: String,
    parent: String,
    labels: Labels,
}

impl Record {
    fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            kind: self.kind,
            id: self.id,
            parents: &self.parents,
            key: &self.key,
            parent: &self.parent,
            labels: &self.labels,
        }
    }
}

impl<'d> Bench<'d> {
    fn new(driver: &'d dyn Driver) -> Self {
        Self { driver, next: AtomicU64::new(1), records: Mutex::default() }
    }

    fn can(&self, capability: Capability) -> bool {
        self.driver.capabilities().contains(&capability)
    }

    fn draw(&self, name: &str) -> (u64, String) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        (id, format!("conformance/{id}/{name}"))
    }

    fn record(&self, name: &str) -> Record {
        self.records.lock().unwrap().get(name).unwrap_or_else(|| panic!("no snapshot {name}")).clone()
    }

    fn create(&self, kind: SnapshotKind, name: &str, parent: &str, labels: Labels) -> Result<Vec<Mount>> {
        let (id, key) = self.draw(name);
        let (parents, parent) = match parent {
            "" => (Vec::new(), String::new()),
            parent => {
                let parent = self.record(parent);
                ([&[parent.id], parent.parents.as_slice()].concat(), parent.key)
            }
        };
        let record = Record { kind, id, parents, key, parent, labels };
        let mounts = self.driver.prepare(&record.snapshot())?;
        self.records.lock().unwrap().insert(name.to_owned(), record);
        Ok(mounts)
    }

    fn prepare(&self, name: &str, parent: &str) -> Vec<Mount> {
        self.create(SnapshotKind::Active, name, parent, Labels::new()).unwrap()
    }

    fn commit(&self, active: &str, name: &str, rebase: Option<&str>) {
        let mut record = self.record(active);
        let (_, key) = self.draw(name);
        let parent = rebase.map(|parent| self.record(parent));
        let labels = record.labels.clone();
        let commit = Commit { key: &key, rebase: parent.as_ref().map(|parent| parent.key.as_str()), labels: &labels };
        let parents = match &parent {
            Some(parent) => [&[parent.id], parent.parents.as_slice()].concat(),
            None => record.parents.clone(),
        };
        self.driver.reconcile(&record.snapshot(), &parents).unwrap();
        self.driver.settle(&record.snapshot()).unwrap();
        self.driver.commit(&record.snapshot(), &commit).unwrap();
        record.parents = parents;
        if let Some(parent) = parent {
            record.parent = parent.key;
        }
        (record.kind, record.key) = (SnapshotKind::Committed, key);
        let mut records = self.records.lock().unwrap();
        records.remove(active);
        records.insert(name.to_owned(), record);
    }

    /// A committed snapshot `name` above `parent`, written by `fill`.
    fn layer(&self, name: &str, parent: &str, fill: impl FnOnce(&Path)) {
        let active = format!("{name}-active");
        let mounts = self.prepare(&active, parent);
        with(&mounts, fill);
        self.commit(&active, name, None);
    }

    /// Looks at the committed snapshot `name` through a view.
    fn look(&self, name: &str, look: impl FnOnce(&Path)) {
        let view = format!("{name}-view");
        let mounts = self.create(SnapshotKind::View, &view, name, Labels::new()).unwrap();
        assert_eq!(self.driver.mounts(&self.record(&view).snapshot()).unwrap(), mounts);
        with(&mounts, look);
        self.remove(&view);
    }

    fn remove(&self, name: &str) {
        let record = self.records.lock().unwrap().remove(name).unwrap();
        self.driver.remove(&record.snapshot()).unwrap();
        self.driver.remove(&record.snapshot()).unwrap();
    }

    /// Children first, as the store does it.
    fn remove_all(&self) {
        let mut names: Vec<(usize, String)> = Vec::new();
        for (name, record) in self.records.lock().unwrap().iter() {
            names.push((record.parents.len(), name.clone()));
        }
        names.sort_by(|one, other| other.cmp(one));
        names.iter().for_each(|(_, name)| self.remove(name));
        self.cleanup();
    }

    fn cleanup(&self) {
        let live = || {
            let records = self.records.lock().unwrap();
            Ok(Live {
                ids: records.values().map(|record| record.id).collect(),
                keys: records.values().map(|record| record.key.clone()).collect(),
            })
        };
        self.driver.cleanup(&live).unwrap();
    }
}

fn with(mounts: &[Mount], work: impl FnOnce(&Path)) {
    let mounted = TempMount::new(mounts).unwrap();
    work(mounted.path());
}
