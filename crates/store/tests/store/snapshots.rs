//! Snapshots: their chain, their names, and what becomes of the driver's directories.

use crate::support::*;
use model::{FieldMask, Filter, Kind, Labels, Resource, SnapshotInfo, SnapshotKind, Timestamp};
use std::sync::atomic::Ordering;

#[test]
fn a_chain_is_prepared_committed_and_removed_from_the_top() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let prepare = |key: &str, parent: &str| store.prepare_snapshot(&scope, "test", key, parent, Labels::new());
    let commit = |name: &str, key: &str| store.commit_snapshot(&scope, "test", name, key, "", Labels::new());
    assert_eq!(prepare("one-active", "").unwrap().len(), 1);
    assert_eq!(prepare("two-active", "one-active").unwrap_err().kind(), Kind::InvalidArgument, "not committed");
    assert_eq!(prepare("two-active", "none").unwrap_err().to_string(), "parent snapshot none does not exist");
    commit("one", "one-active").unwrap();
    assert_eq!(commit("one", "one-active").unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(store.stat_snapshot(&scope, "test", "one-active").unwrap_err().kind(), Kind::NotFound);

    prepare("two-active", "one").unwrap();
    commit("two", "two-active").unwrap();
    store.view_snapshot(&scope, "test", "view", "two", Labels::new()).unwrap();
    assert_eq!(fixture.driver.parents.lock().unwrap().len(), 2, "nearest and farthest ancestor");
    assert_eq!(commit("three", "view").unwrap_err().to_string(), "snapshot \"view\" is not active");
    assert_eq!(prepare("view", "").unwrap_err().to_string(), "snapshot \"view\"");

    let stat = store.stat_snapshot(&scope, "test", "two").unwrap();
    assert_eq!((stat.kind, stat.parent.as_str()), (SnapshotKind::Committed, "one"));
    assert_eq!(store.snapshot_mounts(&scope, "test", "view").unwrap().len(), 1);
    assert_eq!(store.snapshot_mounts(&scope, "test", "two").unwrap_err().kind(), Kind::FailedPrecondition);
    let measured = ["two", "two", "view", "view"].map(|key| store.snapshot_usage(&scope, "test", key).unwrap().inodes);
    assert_eq!(measured, [1, 1, 2, 3], "what is committed is measured once");

    for (key, error) in [("one", true), ("two", true), ("view", false), ("two", false), ("one", false)] {
        let outcome = store.remove_snapshot(&scope, "test", key);
        assert_eq!(outcome.map_err(|error| error.kind()).err(), error.then_some(Kind::FailedPrecondition), "{key}");
    }
    assert_eq!(fixture.driver.ids().len(), 3, "the directories are the collector's");
    store.collect_garbage().unwrap();
    assert_eq!(fixture.driver.ids().len(), 0);
    assert_eq!(
        fixture.events.topics(),
        [
            "/snapshot/prepare",
            "/snapshot/commit",
            "/snapshot/prepare",
            "/snapshot/commit",
            "/snapshot/remove",
            "/snapshot/remove",
            "/snapshot/remove"
        ]
    );
}

#[test]
fn a_snapshot_without_parent_gets_one_when_it_is_committed() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    for (key, name, parent) in [("a", "base", ""), ("b", "layer", "base")] {
        store.prepare_snapshot(&scope, "test", key, "", Labels::new()).unwrap();
        store.commit_snapshot(&scope, "test", name, key, parent, Labels::new()).unwrap();
    }
    assert_eq!(store.stat_snapshot(&scope, "test", "layer").unwrap().parent, "base");
    assert_eq!(store.remove_snapshot(&scope, "test", "base").unwrap_err().kind(), Kind::FailedPrecondition);
    store.prepare_snapshot(&scope, "test", "c", "", Labels::new()).unwrap();
    let error = store.commit_snapshot(&scope, "test", "x", "c", "none", Labels::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(store.stat_snapshot(&scope, "test", "c").unwrap().kind, SnapshotKind::Active);
}

#[test]
fn a_commit_that_fails_leaves_the_snapshot_active() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    store.prepare_snapshot(&scope, "test", "a", "", Labels::new()).unwrap();
    fixture.driver.fail_commit.store(true, Ordering::SeqCst);
    let error = store.commit_snapshot(&scope, "test", "x", "a", "", Labels::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::ResourceExhausted);
    assert_eq!(store.stat_snapshot(&scope, "test", "x").unwrap_err().kind(), Kind::NotFound);
    store.commit_snapshot(&scope, "test", "x", "a", "", Labels::new()).unwrap();
}

#[test]
fn labels_are_kept_filtered_for_the_driver_and_joined_with_its_own() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let given = labels(&[("own", "client"), ("containerd.io/snapshot/x", "seen"), ("other", "unseen"), ("no", "")]);
    store.prepare_snapshot(&scope, "test", "a", "", given).unwrap();
    assert_eq!(*fixture.driver.seen.lock().unwrap(), labels(&[("containerd.io/snapshot/x", "seen")]));
    let stat = store.stat_snapshot(&scope, "test", "a").unwrap();
    let expected = labels(&[
        ("own", "client"),
        ("containerd.io/snapshot/x", "seen"),
        ("other", "unseen"),
        ("containerd.io/snapshot/test.upper", "/upper"),
    ]);
    assert_eq!(stat.labels, expected);
    let mask = |path: &str| FieldMask(vec![path.into()]);
    let updated = store.update_snapshot(&scope, "test", "a", labels(&[("new", "1")]), &mask("labels.new")).unwrap();
    assert_eq!(updated.labels.len(), 5);
    assert!(updated.updated_at > updated.created_at);
    let error = store.update_snapshot(&scope, "test", "a", Labels::new(), &mask("parent")).unwrap_err();
    assert_eq!(error.to_string(), "cannot update \"parent\" field on snapshot \"a\"");
    assert_eq!(store.list_snapshots(&scope, "test", &filter("kind==active,labels.new==1")).unwrap().len(), 1);
    assert_eq!(store.list_snapshots(&scope, "test", &filter("kind==view")).unwrap().len(), 0);
    let error = store.list_snapshots(&scope, "none", &Filter::all()).unwrap_err();
    assert_eq!((error.kind(), error.to_string()), (Kind::InvalidArgument, "snapshotter not loaded: none".into()));
}

#[test]
fn a_remote_layer_is_adopted_and_told_as_existing() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let remote = SnapshotInfo {
        kind: SnapshotKind::Committed,
        name: "n/7/other".into(),
        parent: String::new(),
        labels: labels(&[("containerd.io/snapshot.ref", "chain")]),
        created_at: Timestamp::now(),
        updated_at: Timestamp::now(),
    };
    fixture.driver.remote.lock().unwrap().insert("chain".into(), remote);
    store.create_lease(&scope("n"), "l", Labels::new()).unwrap();
    let target = labels(&[("containerd.io/snapshot.ref", "chain")]);
    for _ in 0..2 {
        // First from the driver, then from the record.
        let error = store.prepare_snapshot(&leased("n", "l"), "test", "key", "", target.clone()).unwrap_err();
        assert_eq!(error.kind(), Kind::AlreadyExists);
    }
    let stat = store.stat_snapshot(&scope("n"), "test", "chain").unwrap();
    assert_eq!((stat.kind, stat.name.as_str()), (SnapshotKind::Committed, "chain"));
    assert_eq!(store.stat_snapshot(&scope("n"), "test", "key").unwrap_err().kind(), Kind::NotFound);
    let held = [Resource::Snapshot("test".into(), "chain".into())];
    assert_eq!(store.list_lease_resources(&scope("n"), "l").unwrap(), held);
}

#[test]
fn a_lease_follows_the_snapshot_from_key_to_name() {
    let fixture = Fixture::new();
    let (store, leased) = (&fixture.store, leased("n", "l"));
    let error = store.prepare_snapshot(&leased, "test", "a", "", Labels::new()).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    assert_eq!(fixture.driver.ids().len(), 0, "nothing is made for an unknown lease");
    store.create_lease(&scope("n"), "l", Labels::new()).unwrap();
    store.prepare_snapshot(&leased, "test", "a", "", Labels::new()).unwrap();
    let held = |key: &str| [Resource::Snapshot("test".into(), key.into())];
    assert_eq!(store.list_lease_resources(&scope("n"), "l").unwrap(), held("a"));
    store.commit_snapshot(&leased, "test", "x", "a", "", Labels::new()).unwrap();
    assert_eq!(store.list_lease_resources(&scope("n"), "l").unwrap(), held("x"));
    store.remove_snapshot(&leased, "test", "x").unwrap();
    assert_eq!(store.list_lease_resources(&scope("n"), "l").unwrap(), []);
}

#[test]
fn commits_to_one_name_at_once_make_one_snapshot() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, &scope("n"));
    let won: usize = std::thread::scope(|threads| {
        let racers: Vec<_> = (0..8)
            .map(|racer| {
                threads.spawn(move || {
                    let key = format!("active-{racer}");
                    store.prepare_snapshot(scope, "test", &key, "", Labels::new()).unwrap();
                    match store.commit_snapshot(scope, "test", "name", &key, "", Labels::new()) {
                        Ok(()) => 1,
                        Err(error) => {
                            assert_eq!(error.kind(), Kind::AlreadyExists);
                            store.remove_snapshot(scope, "test", &key).unwrap();
                            0
                        }
                    }
                })
            })
            .collect();
        racers.into_iter().map(|racer| racer.join().unwrap()).sum()
    });
    assert_eq!(won, 1);
    assert_eq!(store.list_snapshots(scope, "test", &Filter::all()).unwrap().len(), 1);
    store.cleanup_snapshotter("test").unwrap();
    assert_eq!(fixture.driver.ids().len(), 1);
}
