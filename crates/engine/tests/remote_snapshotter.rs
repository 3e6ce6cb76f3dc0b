//! The remote snapshotter passes the suite of the local ones, with a containerd as the remote.
#![allow(clippy::unwrap_used, reason = "tests report by panicking")]

use engine::{RemoteConfig, RemoteSnapshotter};
use model::{Kind, Labels, SnapshotKind};
use store::snapshot::{Driver, Live, Snapshot, conformance};
use tests::{Daemon, Impl};

/// Nothing in a containerd holds the snapshots of another's driver, so its collector must not run.
/// Continues the collector's table, which the harness has last.
const NO_COLLECTION: &str = "mutation_threshold = 1000000\n";

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
