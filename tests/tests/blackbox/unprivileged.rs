//! A daemon in a user namespace, as rootless set-ups run it.

use proto::api::containerd::services::content::v1::InfoRequest;
use tar::EntryType;
use tests::image::{digest, media};
use tests::layer::{Layer, gzip};
use tests::{Daemon, Impl, api::Api, leaks::entries};

/// The kernel makes no devices for a user namespace: the layer is unpacked without them, and its digest is that of
/// the whole.
fn devices_are_left_out(which: Impl) {
    let daemon = Daemon::unprivileged(which);
    let mut api = Api::connect(&daemon.socket(), daemon.namespace());
    api.hold_lease("layer");
    let layer = Layer::new()
        .dir("dev")
        .entry("dev/disk", EntryType::Block, 0o600, b"", "")
        .entry("dev/null", EntryType::Char, 0o666, b"", "")
        .entry("dev/pipe", EntryType::Fifo, 0o600, b"", "")
        .file("dev/file", 0o644, b"text")
        .finish();
    let blob = gzip(&layer);
    let compressed = api.ingest("layer", &blob).unwrap();
    let mounts = api.prepare("layer", "").unwrap();
    let applied = api.apply(media::GZIP, &compressed, blob.len(), mounts).unwrap();
    assert_eq!(applied, digest(&layer));
    let snapshots = entries(&daemon.root().join("io.containerd.snapshotter.v1.overlayfs/snapshots"));
    let dev = entries(&snapshots[0].join("fs/dev"));
    let names: Vec<_> = dev.iter().map(|path| path.file_name().unwrap().to_str().unwrap()).collect();
    assert_eq!(names, ["file", "pipe"]);
    api.call(api.content().info(InfoRequest { digest: compressed })).expect("the daemon goes on");
    daemon.finish();
}

#[test]
fn devices_are_left_out_by_go() {
    devices_are_left_out(Impl::Go);
}

#[test]
fn devices_are_left_out_by_ours() {
    devices_are_left_out(Impl::Ours);
}
