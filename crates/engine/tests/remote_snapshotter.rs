//! The remote snapshotter passes the suite of the local ones, with a containerd as the remote.
#![allow(clippy::unwrap_used, reason = "tests report by panicking")]

use engine::{RemoteConfig, RemoteSnapshotter};
use model::{Kind, Labels, Namespace, Scope, SnapshotKind};
use std::sync::Arc;
use store::{
    NoEvents, Store, StoreConfig,
    snapshot::{Driver, Live, Snapshot, conformance},
};
use tests::{Daemon, Impl};

/// Nothing in a containerd holds the snapshots of another's driver, so its collector must not run.
const NO_COLLECTION: &str =
    "[plugins.\"io.containerd.gc.v1.scheduler\"]\nstartup_delay = \"1h\"\nmutation_threshold = 1000000\n";

fn on(remote: Impl, test: impl FnOnce(&dyn Driver)) {
    let daemon = Daemon::configured(remote, remote, NO_COLLECTION);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    {
        let _inside = runtime.enter();
        let config = RemoteConfig::new("overlayfs", daemon.socket().display().to_string());
        test(&RemoteSnapshotter::new(config).unwrap());
    }
    drop(runtime);
    daemon.finish();
}

#[test]
fn conforms_with_go_containerd() {
    on(Impl::Go, |driver| conformance::all(driver));
}

#[test]
fn conforms_with_our_containerd() {
    on(Impl::Ours, |driver| conformance::all(driver));
}

/// A snapshotter that can fetch layers says `AlreadyExists` and lists what it has. containerd says
/// so of a target that exists, which is all that it takes here.
#[test]
fn a_layer_that_the_remote_has_is_found() {
    on(Impl::Go, |driver| {
        let labels: Labels = [("containerd.io/snapshot.ref".to_owned(), "sha256:layer".to_owned())].into();
        let snapshot =
            |key| Snapshot { kind: SnapshotKind::Active, id: 1, parents: &[], key, parent: "", labels: &labels };
        driver.prepare(&snapshot("space/1/extract")).unwrap();
        assert!(driver.find("sha256:layer", "").unwrap().is_none(), "not committed yet");
        let commit = store::snapshot::Commit { key: "space/2/sha256:layer", rebase: None, labels: &labels };
        driver.commit(&snapshot("space/1/extract"), &commit).unwrap();
        let found = driver.find("sha256:layer", "").unwrap().unwrap();
        assert_eq!((found.name.as_str(), found.kind), ("space/2/sha256:layer", SnapshotKind::Committed));
        assert!(driver.find("sha256:layer", "space/9/other").unwrap().is_none());
        assert!(driver.find("sha256:other", "").unwrap().is_none());
        let missing = driver.mounts(&snapshot("space/3/missing")).unwrap_err();
        assert_eq!(missing.kind(), Kind::NotFound);
        driver.cleanup(&|| Ok(Live::default())).unwrap();
        assert!(driver.find("sha256:layer", "").unwrap().is_none());
    });
}

/// The store over a remote, as the daemon has it: keys are mapped, and what a crash left there goes.
#[test]
fn a_store_works_over_a_remote() {
    let folder = tempfile::tempdir().unwrap();
    let daemon = Daemon::configured(Impl::Go, Impl::Go, NO_COLLECTION);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let remote = {
        let _inside = runtime.enter();
        Arc::new(RemoteSnapshotter::new(RemoteConfig::new("overlayfs", daemon.socket().display().to_string())).unwrap())
    };
    let mut config = StoreConfig::new(folder.path());
    config.gc = None;
    config.snapshotters = vec![("far".to_owned(), remote.clone())];
    let store = Store::open(config, Arc::new(NoEvents)).unwrap();
    let scope = Scope::new(Namespace::new("space").unwrap());
    let labels: Labels = [("containerd.io/gc.root".to_owned(), "now".to_owned())].into();

    let mounts = store.prepare_snapshot(&scope, "far", "work", "", labels.clone()).unwrap();
    assert!(mounts[0].source.starts_with(&daemon.root().display().to_string()), "{mounts:?}");
    std::fs::write(std::path::Path::new(&mounts[0].source).join("file"), "content").unwrap();
    store.commit_snapshot(&scope, "far", "base", "work", "", labels.clone()).unwrap();
    let info = store.stat_snapshot(&scope, "far", "base").unwrap();
    assert_eq!((info.name.as_str(), info.kind), ("base", SnapshotKind::Committed));
    assert!(store.snapshot_usage(&scope, "far", "base").unwrap().inodes > 0);
    let above = store.prepare_snapshot(&scope, "far", "above", "base", labels.clone()).unwrap();
    assert_eq!(store.snapshot_mounts(&scope, "far", "above").unwrap(), above);
    assert_eq!(store.remove_snapshot(&scope, "far", "base").unwrap_err().kind(), Kind::FailedPrecondition);

    // As if we had died after the remote's prepare, before our record.
    let lost = Snapshot {
        kind: SnapshotKind::Active,
        id: 9,
        parents: &[],
        key: "space/999/lost",
        parent: "",
        labels: &labels,
    };
    remote.prepare(&lost).unwrap();
    // And one that is another program's.
    let other = Snapshot { key: "space-of-another", ..lost };
    remote.prepare(&other).unwrap();
    store.collect_garbage().unwrap();
    assert_eq!(remote.mounts(&lost).unwrap_err().kind(), Kind::NotFound);
    assert!(remote.mounts(&other).is_ok());
    remote.remove(&other).unwrap();
    assert_eq!(store.snapshot_mounts(&scope, "far", "above").unwrap(), above);
    store.remove_snapshot(&scope, "far", "above").unwrap();
    store.remove_snapshot(&scope, "far", "base").unwrap();
    store.collect_garbage().unwrap();
    drop((store, remote, runtime));
    daemon.finish();
}
