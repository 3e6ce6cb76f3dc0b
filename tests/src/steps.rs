//! A numbered sequence of changes to a daemon's store, and what each must leave there.
//!
//! The power-cut test makes them inside a virtual machine, one after the other, each acknowledged before
//! the next begins. Afterwards it asks, of a daemon on what the disk held: which steps are there, and is
//! each of them whole?

use std::fs;
use std::path::Path;
use std::process::Command;

use proto::api::containerd::services as wire;
use proto::api::containerd::types::{Descriptor, Mount};
use tonic::{Code, Status};

use crate::api::Api;
use crate::image::{digest, media};
use crate::layer::{Layer, gzip};

const SNAPSHOTTER: &str = "overlayfs";
/// Files in each step's layer.
const FILES: usize = 12;

/// Makes step `number`: a blob, a container record, and a snapshot unpacked from a layer.
///
/// # Errors
/// Whatever the daemon answered.
pub fn make(api: &Api, number: usize) -> Result<(), Status> {
    let layer = gzip(&layer(number).finish());
    write_blob(api, &format!("step-{number}"), &layer)?;
    let container = wire::containers::v1::Container { id: format!("step-{number}"), ..record(number) };
    let create = wire::containers::v1::CreateContainerRequest { container: Some(container) };
    api.call(async { api.containers().create(create).await })?;
    unpack(api, number, &layer)
}

/// Whether step `number` is there; checks that whatever part of it is there is whole.
///
/// # Panics
/// When a part is damaged.
#[must_use]
pub fn check(api: &Api, number: usize, dir: &Path) -> bool {
    let blob = blob_is_whole(api, number);
    let container = container_is_whole(api, number);
    let snapshot = snapshot_is_whole(api, number, dir);
    assert!(blob || !container, "step {number}: its container is there, its blob, which came before, is not");
    assert!(container || !snapshot, "step {number}: its snapshot is there, its container, which came before, is not");
    snapshot
}

/// Reads every blob that the daemon lists and checks its digest.
///
/// # Panics
/// When one is damaged.
pub fn check_every_blob(api: &Api) -> usize {
    let infos = api.block_on(async {
        let mut listed = api.content().list(wire::content::v1::ListContentRequest::default()).await?.into_inner();
        let mut infos = Vec::new();
        while let Some(message) = listed.message().await? {
            infos.extend(message.info);
        }
        Ok::<_, Status>(infos)
    });
    let infos = infos.expect("list blobs");
    for info in &infos {
        let bytes = read_blob(api, &info.digest).expect("a listed blob can be read");
        assert_eq!(digest(&bytes), info.digest, "a listed blob is damaged");
    }
    infos.len()
}

fn layer(number: usize) -> Layer {
    let mut layer = Layer::new().dir("etc/");
    for file in 0..FILES {
        layer = layer.file(&format!("etc/file-{file}"), 0o644, &contents(number, file));
    }
    layer
}

/// Bytes that no other file of any step has, 0 to 30 kB.
fn contents(number: usize, file: usize) -> Vec<u8> {
    let mut state = (number * FILES + file) as u64 + 1;
    let length = (number * 7919 + file * 104_729) % 30_000;
    std::iter::repeat_with(|| {
        // xorshift64
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    })
    .take(length)
    .collect()
}

fn record(number: usize) -> wire::containers::v1::Container {
    wire::containers::v1::Container {
        image: format!("image-{number}"),
        labels: [("step".to_owned(), number.to_string())].into(),
        runtime: Some(wire::containers::v1::container::Runtime { name: "io.containerd.runc.v2".into(), options: None }),
        spec: Some(proto::Any { type_url: "test".into(), value: contents(number, 0) }),
        ..Default::default()
    }
}

fn write_blob(api: &Api, reference: &str, bytes: &[u8]) -> Result<(), Status> {
    use wire::content::v1::{WriteAction, WriteContentRequest};
    let request = WriteContentRequest {
        action: WriteAction::Commit as i32,
        r#ref: reference.to_owned(),
        total: i64::try_from(bytes.len()).expect("a small blob"),
        expected: digest(bytes),
        data: bytes.to_vec().into(),
        labels: [("containerd.io/gc.root".to_owned(), "test".to_owned())].into(),
        ..Default::default()
    };
    api.call(async {
        let mut answers = api.content().write(tokio_stream::iter([request])).await?.into_inner();
        while answers.message().await?.is_some() {}
        Ok(())
    })
}

fn unpack(api: &Api, number: usize, layer: &[u8]) -> Result<(), Status> {
    use wire::snapshots::v1::{CommitSnapshotRequest, PrepareSnapshotRequest};
    let labels = [("containerd.io/gc.root".to_owned(), "test".to_owned())];
    let prepare = PrepareSnapshotRequest {
        snapshotter: SNAPSHOTTER.into(),
        key: format!("unpack-{number}"),
        parent: if number == 0 { String::new() } else { format!("layer-{}", number - 1) },
        labels: labels.clone().into(),
    };
    let mounts = api.call(async { api.snapshots().prepare(prepare).await })?.into_inner().mounts;
    let diff = Descriptor {
        media_type: media::GZIP.into(),
        digest: digest(layer),
        size: i64::try_from(layer.len()).expect("a small layer"),
        ..Default::default()
    };
    let apply = wire::diff::v1::ApplyRequest { diff: Some(diff), mounts, ..Default::default() };
    api.call(async { api.diff().apply(apply).await })?;
    let commit = CommitSnapshotRequest {
        snapshotter: SNAPSHOTTER.into(),
        name: format!("layer-{number}"),
        key: format!("unpack-{number}"),
        labels: labels.into(),
        ..Default::default()
    };
    api.call(async { api.snapshots().commit(commit).await }).map(drop)
}

fn read_blob(api: &Api, digest: &str) -> Result<Vec<u8>, Status> {
    let request = wire::content::v1::ReadContentRequest { digest: digest.to_owned(), ..Default::default() };
    api.call(async {
        let mut answers = api.content().read(request).await?.into_inner();
        let mut bytes = Vec::new();
        while let Some(answer) = answers.message().await? {
            bytes.extend_from_slice(&answer.data);
        }
        Ok(bytes)
    })
}

fn blob_is_whole(api: &Api, number: usize) -> bool {
    let layer = gzip(&layer(number).finish());
    match read_blob(api, &digest(&layer)) {
        Ok(bytes) => {
            assert!(bytes == layer, "step {number}: its blob is damaged");
            true
        }
        Err(status) => absent(&status),
    }
}

fn container_is_whole(api: &Api, number: usize) -> bool {
    let request = wire::containers::v1::GetContainerRequest { id: format!("step-{number}") };
    match api.call(async { api.containers().get(request).await }) {
        Ok(answer) => {
            let found = answer.into_inner().container.expect("a container");
            let expected = record(number);
            assert_eq!((found.image, found.labels, found.spec), (expected.image, expected.labels, expected.spec));
            true
        }
        Err(status) => absent(&status),
    }
}

fn snapshot_is_whole(api: &Api, number: usize, dir: &Path) -> bool {
    use wire::snapshots::v1::{RemoveSnapshotRequest, ViewSnapshotRequest};
    let key = format!("view-{number}");
    let view = ViewSnapshotRequest {
        snapshotter: SNAPSHOTTER.into(),
        key: key.clone(),
        parent: format!("layer-{number}"),
        ..Default::default()
    };
    let mounts = match api.call(async { api.snapshots().view(view).await }) {
        Ok(answer) => answer.into_inner().mounts,
        Err(status) => return absent(&status),
    };
    with_mounted(&mounts, dir, || {
        for file in 0..FILES {
            let found = fs::read(dir.join(format!("etc/file-{file}"))).expect("a file of a committed snapshot");
            assert!(found == contents(number, file), "step {number}: file {file} of its snapshot is damaged");
        }
    });
    let remove = RemoveSnapshotRequest { snapshotter: SNAPSHOTTER.into(), key };
    api.call(async { api.snapshots().remove(remove).await }).expect("remove the view");
    true
}

fn absent(status: &Status) -> bool {
    assert_eq!(status.code(), Code::NotFound, "{}", status.message());
    false
}

/// Runs `look` while the one mount of a view is at `dir`.
fn with_mounted(mounts: &[Mount], dir: &Path, look: impl FnOnce()) {
    fs::create_dir_all(dir).expect("make a mount point");
    let [mount] = mounts else { panic!("a view has one mount: {mounts:?}") };
    // A bind mount has no type for mount(8), only the option.
    let fs_type = if mount.r#type == "bind" { "none" } else { &mount.r#type };
    let mut command = Command::new("mount");
    command.args(["-t", fs_type, "-o", &mount.options.join(","), &mount.source]).arg(dir);
    let status = command.status().expect("run mount");
    assert!(status.success(), "{command:?} ended with {status}");
    look();
    crate::unmounted(dir);
}
