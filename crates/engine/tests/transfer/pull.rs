//! Pulls.

use crate::{
    bed::{Bed, Offering, eventually, image_store, registry},
    fake::{Asked, Fake, well},
    image::{CONFIG, INDEX, Image, LAYER, Layer, MANIFEST, descriptor, digest, index},
    registry::{Registry, reply, repository},
};
use engine::transfer::{Destination, ImageStore, Source, TransferConfig, Verifiers};
use model::{Digest, Kind};
use serde_json::{Value, json};
use std::sync::Arc;

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_stored_unpacked_and_named_as_containerd_does() {
    let registry = Registry::start("", "");
    let lower = Layer::new(&[("etc/a", b"lower"), ("etc/gone", b"x")]);
    let upper = Layer::new(&[("etc/b", b"upper"), ("etc/.wh.gone", b"")]);
    let image = Image::new(vec![lower, Layer::random("big", 3 << 20, 1), upper]);
    image.push(&repository(&registry.address, "team/app"), "v1").await;
    let reference = format!("{}/team/app:v1", registry.address);

    for snapshotter in ["overlayfs", "native"] {
        let bed = Bed::new();
        bed.pull(&reference, snapshotter).await.unwrap();

        let record = bed.store.get_image(&bed.scope, &reference).unwrap();
        assert_eq!(record.target.digest, image.digest());
        let source = "containerd.io/distribution.source.127.0.0.1";
        let manifest = bed.labels(&image.digest());
        assert_eq!(manifest[source], "team/app");
        assert_eq!(manifest["containerd.io/gc.ref.content.config"], image.config_digest().as_str());
        for (index, layer) in image.layers.iter().enumerate() {
            assert_eq!(manifest[&format!("containerd.io/gc.ref.content.l.{index}")], layer.digest().as_str());
            let labels = bed.labels(&layer.digest());
            assert_eq!(labels["containerd.io/uncompressed"], layer.diff_id.as_str());
            assert_eq!(labels[source], "team/app");
        }
        let chain = image.chain();
        let config = bed.labels(&image.config_digest());
        assert_eq!(config[&format!("containerd.io/gc.ref.snapshot.{snapshotter}")], chain[2].as_str());
        let mut expected: Vec<String> = chain.iter().map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(bed.snapshots(snapshotter), expected);
        for (index, name) in chain.iter().enumerate() {
            let info = bed.store.stat_snapshot(&bed.scope, snapshotter, name.as_str()).unwrap();
            let parent = index.checked_sub(1).map(|below| chain[below].to_string()).unwrap_or_default();
            assert_eq!(info.parent, parent);
            assert_eq!(info.labels["containerd.io/snapshot.ref"], name.as_str());
        }
        assert_eq!(bed.file(snapshotter, &chain[2], "etc/a").unwrap(), b"lower");
        assert_eq!(bed.file(snapshotter, &chain[2], "etc/b").unwrap(), b"upper");
        assert_eq!(bed.file(snapshotter, &chain[2], "etc/gone"), None);
        assert_eq!(bed.file(snapshotter, &chain[1], "etc/gone").unwrap(), b"x");
        // Nothing is left over, and all of it outlives a collection.
        assert!(bed.ingests().is_empty());
        assert!(bed.store.list_leases(&bed.scope, &model::Filter::parse::<&str>(&[]).unwrap()).unwrap().is_empty());
        bed.store.collect_garbage().unwrap();
        assert_eq!(bed.snapshots(snapshotter), expected);
        assert!(image.layers.iter().all(|layer| bed.store.blob_info(&bed.scope, &layer.digest()).is_ok()));
        bed.pull(&reference, snapshotter).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_layer_comes_in_ranges_if_the_registry_has_them() {
    let image = Image::new(vec![Layer::random("large", 40 << 20, 1)]);
    let layer = image.layers[0].digest();
    let ranged = Fake::start(&[("v1", &image)], |_, _| None);
    let plain = Fake::start(&[("v1", &image)], |asked, bytes| {
        let whole = Asked { range: None, ..asked.clone() };
        (asked.range.is_some()).then(|| well(&whole, LAYER, bytes))
    });
    for (fake, several) in [(ranged, true), (plain, false)] {
        let bed = Bed::new();
        bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
        let gets = fake.gets(&layer);
        assert_eq!(gets > 2, several, "{gets}");
        let mut bytes = vec![0; image.layers[0].blob.len()];
        bed.store.open_reader(&bed.scope, &layer).unwrap().read_at(&mut bytes, 0).unwrap();
        assert_eq!(digest(&bytes), layer);
    }
}

/// Indexes inside indexes: the image for this platform, and what containerd keeps of the others.
#[tokio::test(flavor = "multi_thread")]
async fn of_an_index_what_was_asked_for_is_taken() {
    let ours = Image::new(vec![Layer::new(&[("a", b"amd64")])]);
    let theirs = Image::for_platform(vec![Layer::new(&[("a", b"arm64")])], "arm64");
    let inner = index(&[("amd64", &ours), ("arm64", &theirs)]);
    let outer = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(INDEX, &inner)]}).to_string();
    let outer = outer.into_bytes();
    let fake = Fake::with(&[("amd64", &ours), ("arm64", &theirs)], &[("v1", INDEX, &outer), ("inner", INDEX, &inner)]);
    let reference = fake.reference("v1");
    let has = |bed: &Bed, digest: &Digest| bed.store.blob_info(&bed.scope, digest).is_ok();

    let bed = Bed::new();
    bed.pull(&reference, "overlayfs").await.unwrap();
    assert!(has(&bed, &ours.layers[0].digest()) && !has(&bed, &theirs.digest()));
    let labels = bed.labels(&digest(&inner));
    assert_eq!(labels["containerd.io/gc.ref.content.m.0"], ours.digest().as_str());
    assert_eq!(labels["containerd.io/gc.ref.content.m.1"], theirs.digest().as_str(), "named, if not there");

    let bed = Bed::new();
    let to = ImageStore { all_metadata: true, ..image_store(&reference, "overlayfs") };
    bed.transfer(Source::Registry(registry(&reference)), Destination::Store(to)).await.unwrap();
    assert!(has(&bed, &theirs.config_digest()) && !has(&bed, &theirs.layers[0].digest()));

    let bed = Bed::new();
    let to = ImageStore { platforms: Vec::new(), ..image_store(&reference, "overlayfs") };
    bed.transfer(Source::Registry(registry(&reference)), Destination::Store(to)).await.unwrap();
    // containerd unpacks every image of the system, whatever its architecture.
    let mut names = [ours.chain().remove(0).to_string(), theirs.chain().remove(0).to_string()];
    names.sort();
    assert_eq!(bed.snapshots("overlayfs"), names);

    let mut deep = inner.clone();
    let mut levels = Vec::new();
    for level in 0..6 {
        levels.push((format!("d{level}"), deep.clone()));
        deep =
            json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(INDEX, &deep)]}).to_string().into();
    }
    let levels: Vec<_> = levels.iter().map(|(tag, bytes)| (tag.as_str(), INDEX, bytes.as_slice())).collect();
    let fake = Fake::with(&[("amd64", &ours)], &levels);
    let error = Bed::new().pull(&fake.reference("d5"), "").await.unwrap_err();
    assert!(error.to_string().contains("nested"), "{error}");
}

/// Docker's own documents (schema 2): a list of manifests, and what it lists. They are unpacked as OCI's are, and keep
/// their types and bytes.
#[tokio::test(flavor = "multi_thread")]
async fn dockers_images_stay_dockers() {
    const LIST: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
    const DOCKER: &str = "application/vnd.docker.distribution.manifest.v2+json";
    let image = Image::new(vec![Layer::new(&[("a", b"docker")])]);
    let manifest = String::from_utf8(image.manifest.clone()).unwrap();
    let manifest = manifest
        .replace(MANIFEST, DOCKER)
        .replace(CONFIG, "application/vnd.docker.container.image.v1+json")
        .replace(LAYER, "application/vnd.docker.image.rootfs.diff.tar.gzip")
        .into_bytes();
    let mut entry = descriptor(DOCKER, &manifest);
    entry["platform"] = json!({"os": "linux", "architecture": "amd64"});
    let list = json!({"schemaVersion": 2, "mediaType": LIST, "manifests": [entry]}).to_string().into_bytes();
    let fake = Fake::with(&[("parts", &image)], &[("v1", LIST, &list), ("one", DOCKER, &manifest)]);
    for (tag, media_type, document) in [("v1", LIST, &list), ("one", DOCKER, &manifest)] {
        let bed = Bed::new();
        bed.pull(&fake.reference(tag), "overlayfs").await.unwrap();
        let target = bed.store.get_image(&bed.scope, &fake.reference(tag)).unwrap().target;
        assert_eq!((target.media_type.as_str(), target.digest), (media_type, digest(document)));
        let labels = bed.labels(&digest(&manifest));
        assert_eq!(labels["containerd.io/gc.ref.content.config"], image.config_digest().as_str());
        assert_eq!(bed.file("overlayfs", &image.chain()[0], "a").unwrap(), b"docker");
    }
}

/// A few indexes that list each other, each a thousand times, and an image that is listed for two platforms: nothing is
/// looked at twice, and what the platform wants of the image comes whichever entry is seen first.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_listed_many_times_is_brought_once() {
    let image = Image::new(vec![Layer::new(&[("a", b"a")])]);
    let mut bytes = index(&[("arm64", &image), ("amd64", &image)]);
    let mut levels = vec![bytes.clone()];
    for _ in 0..3 {
        let manifests = vec![descriptor(INDEX, &bytes); 1000];
        bytes = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes();
        levels.push(bytes.clone());
    }
    let tags: Vec<String> = (0..levels.len()).map(|level| format!("v{level}")).collect();
    let documents: Vec<_> = tags.iter().zip(&levels).map(|(tag, bytes)| (tag.as_str(), INDEX, &bytes[..])).collect();
    let fake = Fake::with(&[("image", &image)], &documents);
    let (bed, reference) = (Bed::new(), fake.reference("v3"));
    let to = ImageStore { all_metadata: true, ..image_store(&reference, "overlayfs") };
    let pull = bed.transfer(Source::Registry(registry(&reference)), Destination::Store(to));
    tokio::time::timeout(tests::PATIENCE, pull).await.expect("it ends").unwrap();
    assert!(fake.asked().len() < 20, "{:?}", fake.asked());
    assert_eq!(bed.snapshots("overlayfs"), [image.chain()[0].to_string()]);

    // The same on the way back.
    let target = crate::uploads::Uploads::start(&[], false);
    let there = target.reference();
    let push = bed.push(&reference, &there);
    tokio::time::timeout(tests::PATIENCE, push).await.expect("it ends").unwrap();
    let puts = target.asked().into_iter().filter(|asked| asked.starts_with("PUT manifests/"));
    let mut expected: Vec<String> = [image.digest()]
        .into_iter()
        .chain(levels.iter().map(|bytes| digest(bytes)))
        .map(|digest| format!("PUT manifests/{digest}"))
        .collect();
    *expected.last_mut().unwrap() = "PUT manifests/v1".to_owned();
    assert_eq!(puts.collect::<Vec<_>>(), expected, "each behind what it lists");
}

/// Images whose configuration is called `application/octet-stream` (distribution#1622).
#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_without_a_type_gets_dockers() {
    let image = Image::new(vec![Layer::new(&[("a", b"old")])]);
    let (legacy, docker) = ("application/octet-stream", "application/vnd.docker.container.image.v1+json");
    let manifest = |config: &str| String::from_utf8(image.manifest.clone()).unwrap().replace(CONFIG, config);
    let old = manifest(legacy).into_bytes();
    let old_digest = digest(&old);
    let both = json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [descriptor(MANIFEST, &old)]}).to_string();
    let both = both.into_bytes();
    let fake = Fake::with(&[("parts", &image)], &[("v1", MANIFEST, &old), ("index", INDEX, &both)]);
    let bed = Bed::new();
    for _ in 0..2 {
        bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
        bed.store.collect_garbage().unwrap();
        let target = bed.store.get_image(&bed.scope, &fake.reference("v1")).unwrap().target;
        assert_eq!(target.media_type, MANIFEST);
        let mut bytes = vec![0; usize::try_from(target.size).unwrap()];
        bed.store.open_reader(&bed.scope, &target.digest).unwrap().read_at(&mut bytes, 0).unwrap();
        assert_eq!(digest(&bytes), target.digest);
        let read = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).unwrap();
        assert_eq!(read(&bytes), read(manifest(docker).as_bytes()));
        let labels = bed.labels(&target.digest);
        assert_eq!(labels["containerd.io/gc.ref.content.0"], image.config_digest().as_str());
        assert_eq!(labels["containerd.io/gc.ref.content.1"], image.layers[0].digest().as_str());
        assert!(bed.store.blob_info(&bed.scope, &old_digest).is_err(), "the old one is gone");
        assert!(bed.store.blob_info(&bed.scope, &image.layers[0].digest()).is_ok());
        let chain = image.chain();
        assert_eq!(bed.file("overlayfs", &chain[0], "a").unwrap(), b"old");
        assert_eq!(bed.labels(&image.config_digest())["containerd.io/gc.ref.snapshot.overlayfs"], chain[0].as_str());
    }
    // As in Go, an index stays as it is; its image is unpacked all the same.
    let bed = Bed::new();
    bed.pull(&fake.reference("index"), "overlayfs").await.unwrap();
    assert_eq!(bed.store.get_image(&bed.scope, &fake.reference("index")).unwrap().target.digest, digest(&both));
    assert_eq!(bed.snapshots("overlayfs"), [image.chain()[0].to_string()]);

    // An artifact whose configuration is something else is kept.
    let thing = b"not JSON".to_vec();
    let artifact = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(legacy, &thing),
        "layers": [descriptor(LAYER, &image.layers[0].blob)],
    });
    let artifact = artifact.to_string().into_bytes();
    let blob = |bytes: &[u8]| (format!("blobs/{}", digest(bytes)), ("application/octet-stream", bytes.to_vec()));
    let manifest = |name: &str| (format!("manifests/{name}"), (MANIFEST, artifact.clone()));
    let parts = [manifest("v1"), manifest(digest(&artifact).as_str()), blob(&thing), blob(&image.layers[0].blob)];
    let fake = Fake::serving(parts.into(), Arc::new(|_: &Asked, _: &[u8]| None));
    let bed = Bed::new();
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
    assert!(bed.snapshots("overlayfs").is_empty());
    assert!(bed.store.blob_info(&bed.scope, &image.layers[0].digest()).is_ok());
}

/// An artifact as version 1.1 of the image spec has it, and what it refers to.
#[tokio::test(flavor = "multi_thread")]
async fn artifacts_are_kept_as_they_are() {
    let (empty, thing) = (b"{}".to_vec(), b"a signature, perhaps".to_vec());
    let artifact = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "artifactType": "application/vnd.example.signature",
        "config": descriptor("application/vnd.oci.empty.v1+json", &empty),
        "layers": [descriptor("application/vnd.example.signature.v1", &thing)],
        "subject": descriptor(MANIFEST, b"another image"), "unknown": ["kept"],
    });
    let artifact = artifact.to_string().into_bytes();
    let blob = |bytes: &[u8]| (format!("blobs/{}", digest(bytes)), ("application/octet-stream", bytes.to_vec()));
    let manifest = |name: &str| (format!("manifests/{name}"), (MANIFEST, artifact.clone()));
    let documents = [manifest("v1"), manifest(digest(&artifact).as_str()), blob(&empty), blob(&thing)];
    let fake = Fake::serving(documents.into(), Arc::new(|_: &Asked, _: &[u8]| None));
    let bed = Bed::new();
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
    let target = bed.store.get_image(&bed.scope, &fake.reference("v1")).unwrap().target;
    assert_eq!(target.digest, digest(&artifact));
    bed.store.collect_garbage().unwrap();
    for bytes in [&empty, &thing] {
        assert!(bed.store.blob_info(&bed.scope, &digest(bytes)).is_ok(), "it is held by the artifact");
    }
    assert!(bed.store.blob_info(&bed.scope, &digest(b"another image")).is_err(), "what it is about is not part of it");
    assert!(bed.snapshots("overlayfs").is_empty());
}

/// Media types that nobody here unpacks: kept where they are only kept, refused by name where they are to be unpacked.
#[tokio::test(flavor = "multi_thread")]
async fn layers_that_cannot_be_read_are_kept_or_refused_by_name() {
    let encrypted = "application/vnd.oci.image.layer.v1.tar+gzip+encrypted";
    let image = Image::with_types(vec![Layer::new(&[("a", b"a")])], &[encrypted]);
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    let bed = Bed::new();
    bed.pull(&fake.reference("v1"), "").await.unwrap();
    assert!(bed.store.blob_info(&bed.scope, &image.layers[0].digest()).is_ok());
    let error = bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap_err();
    assert_eq!(error.kind(), Kind::Unimplemented, "{error}");
    for name in [image.layers[0].digest().as_str(), encrypted] {
        assert!(error.to_string().contains(name), "{error}");
    }
    assert!(eventually(|| bed.snapshots("overlayfs").is_empty()));

    // A foreign layer is a layer; the registry has it, or the URLs do.
    let foreign = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
    let image = Image::with_types(vec![Layer::new(&[("a", b"a")])], &[foreign]);
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    let bed = Bed::new();
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
    assert_eq!(bed.file("overlayfs", &image.chain()[0], "a").unwrap(), b"a");

    // Only its URL has this one; the registry's credentials are not for there.
    let elsewhere = Fake::start(&[("v1", &image)], |_, _| None);
    let blob = &image.layers[0].blob;
    let mut listed = descriptor(foreign, blob);
    let path = format!("blobs/{}", digest(blob));
    listed["urls"] = json!([format!("http://{}/v2/app/{path}", elsewhere.address())]);
    let mut image = image.clone();
    image.manifest = json!({
        "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &image.config), "layers": [listed],
    })
    .to_string()
    .into_bytes();
    let fake =
        Fake::start(&[("v1", &image)], move |asked, _| (asked.what == path).then(|| reply("404 Not Found", &[], b"")));
    let bed = Bed::new();
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
    assert_eq!(bed.file("overlayfs", &image.chain()[0], "a").unwrap(), b"a");
    assert_eq!((elsewhere.gets(&digest(blob)), fake.gets(&digest(blob))), (1, 0));

    // An artifact: everything of it is kept, nothing is looked into.
    let image = Image::with_types(vec![Layer::new(&[("a", b"a")])], &["application/vnd.example.thing"]);
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    let bed = Bed::new();
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
    assert!(bed.store.blob_info(&bed.scope, &image.layers[0].digest()).is_ok());
    assert!(bed.snapshots("overlayfs").is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn verifiers_are_asked_before_anything_is_pulled() {
    let image = Image::new(vec![Layer::new(&[("a", b"a")])]);
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    let (programs, scripts) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let write = |name: &str, script: &str| {
        let text = scripts.path().join(name);
        std::fs::write(&text, format!("#!/bin/sh\n{script}\n")).unwrap();
        tests::install(&text, &programs.path().join(name));
    };
    let verifiers = |timeout| Verifiers { bin_dir: programs.path().to_owned(), max: 10, timeout };
    let bed = |timeout| Bed::with(TransferConfig { verifiers: Some(verifiers(timeout)), ..TransferConfig::default() });
    let pull = async |bed: &Bed| bed.pull(&fake.reference("v1"), "").await;

    let patient = bed(tests::PATIENCE);
    let asked = format!("{} {}", fake.reference("v1"), image.digest());
    write("1-good", &format!("[ \"$2 $4\" = \"{asked}\" ] && grep -q {} && yes | head -c 100000", image.digest()));
    pull(&patient).await.unwrap();
    write("2-bad", "echo no; exit 3");
    let patient = bed(tests::PATIENCE);
    let error = pull(&patient).await.unwrap_err();
    assert_eq!(error.kind(), Kind::PermissionDenied);
    assert!(error.to_string().contains("2-bad rejected image (exit code 3): no"), "{error}");
    assert!(patient.store.blob_info(&patient.scope, &image.digest()).is_err(), "nothing was pulled");

    // Before the others, which have a time of their own.
    write("0-slow", "exec sleep 1000");
    let error = pull(&bed(std::time::Duration::from_millis(200))).await.unwrap_err();
    assert!(error.to_string().contains("0-slow failed"), "{error}");
}

/// A snapshotter that has every layer: nothing but documents is fetched.
#[tokio::test(flavor = "multi_thread")]
async fn layers_that_a_snapshotter_offers_are_not_fetched() {
    let image = Image::new(vec![Layer::new(&[("a", b"a")]), Layer::new(&[("b", b"b")])]);
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    let offering = Arc::new(Offering::default());
    let bed = Bed::with_snapshotter("offering", offering.clone());
    bed.pull(&fake.reference("v1"), "offering").await.unwrap();
    for layer in &image.layers {
        assert_eq!(fake.gets(&layer.digest()), 0);
    }
    let chain = image.chain();
    let labels = bed.labels(&image.config_digest());
    assert_eq!(labels["containerd.io/gc.ref.snapshot.offering"], chain[1].as_str());
    let asked = offering.asked.lock().unwrap();
    let lowest = asked.iter().find(|labels| labels["containerd.io/snapshot.ref"] == chain[0].as_str()).unwrap();
    let (one, two) = (image.layers[0].digest(), image.layers[1].digest());
    assert_eq!(lowest["containerd.io/snapshot/cri.image-ref"], fake.reference("v1"));
    assert_eq!(lowest["containerd.io/snapshot/cri.layer-digest"], one.as_str());
    assert_eq!(lowest["containerd.io/snapshot/cri.image-layers"], format!("{one},{two}"));
    assert_eq!(lowest["containerd.io/snapshot/cri.manifest-digest"], image.digest().as_str());
}
