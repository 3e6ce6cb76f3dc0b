//! A snapshotter in another process: here, in another containerd.

use crate::daemon::{Daemon, PATIENCE};
use proto::api::containerd::services::{
    introspection::v1::PluginsRequest,
    snapshots::v1::{CommitSnapshotRequest, PrepareSnapshotRequest, RemoveSnapshotRequest, StatSnapshotRequest},
};
use rustix::process::Signal;
use std::time::{Duration, Instant};
use tonic::Code;

#[tokio::test]
async fn snapshots_of_a_proxy_are_the_other_daemons() {
    let mut other = Daemon::start();
    let socket = other.socket();
    let daemon = Daemon::configured(&format!(
        "[proxy_plugins.native]\ntype = 'snapshot'\naddress = '{0}'\ncapabilities = ['special']\nexports = {{ a = 'b' }}\n\
         [proxy_plugins.absent]\ntype = 'snapshot'\naddress = '{0}.none'\n",
        socket.display()
    ));
    let client = daemon.client().await;
    let filters = vec!["id==native".to_owned()];
    let plugins = client.introspection().plugins(PluginsRequest { filters }).await.unwrap().into_inner().plugins;
    assert_eq!((plugins.len(), plugins[0].capabilities.as_slice()), (1, &["special".to_owned()][..]));
    assert_eq!(
        (plugins[0].exports["address"].as_str(), plugins[0].exports["a"].as_str()),
        (socket.to_str().unwrap(), "b")
    );

    let prepare = |snapshotter: &str, key: &str, parent: &str| PrepareSnapshotRequest {
        snapshotter: snapshotter.into(),
        key: key.into(),
        parent: parent.into(),
        labels: [("containerd.io/gc.root".to_owned(), "yes".to_owned())].into(),
    };
    let mut snapshots = client.snapshots();
    let mounts = snapshots.prepare(prepare("native", "k", "")).await.unwrap().into_inner().mounts;
    assert!(mounts[0].source.starts_with(other.path("root").to_str().unwrap()), "{mounts:?}");
    let commit = CommitSnapshotRequest {
        snapshotter: "native".into(),
        name: "base".into(),
        key: "k".into(),
        labels: [("containerd.io/gc.root".to_owned(), "yes".to_owned())].into(),
        parent: String::new(),
    };
    snapshots.commit(commit).await.unwrap();
    snapshots.prepare(prepare("native", "above", "base")).await.unwrap();
    let base = RemoveSnapshotRequest { snapshotter: "native".into(), key: "base".into() };
    assert_eq!(snapshots.remove(base).await.unwrap_err().code(), Code::FailedPrecondition);

    // It comes back, and so does what it holds.
    other.signal(Signal::KILL);
    other.ended();
    other.restart();
    let stat = StatSnapshotRequest { snapshotter: "native".into(), key: "above".into() };
    let start = Instant::now();
    let above = loop {
        // The first may still go to the one that ended.
        match snapshots.stat(stat.clone()).await {
            Ok(above) => break above.into_inner().info.unwrap(),
            Err(error) => assert!(start.elapsed() < PATIENCE, "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(above.parent, "base");
    snapshots.prepare(prepare("native", "again", "base")).await.unwrap();

    let nobody = snapshots.prepare(prepare("absent", "k", "")).await.unwrap_err();
    assert_eq!(nobody.code(), Code::Unavailable, "{nobody}");
    let unknown = snapshots.prepare(prepare("unknown", "k", "")).await.unwrap_err();
    assert_eq!(unknown.code(), Code::InvalidArgument, "{unknown}");
}
