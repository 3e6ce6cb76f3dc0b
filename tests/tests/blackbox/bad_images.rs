//! Images that lie about their layers or are built to tire a reader.

use serde_json::{Value, json};
use tests::image::{self, descriptor, digest, media};
use tests::{Bed, matrix};

matrix! { storage: wrong_diff_id, nested_indexes, manifest_of_twenty_megabytes, layer_that_is_not_there }

/// Imports an archive, whatever comes of it.
fn import(bed: &Bed, archive: &[u8]) -> tests::ctr::Output {
    let path = bed.daemon.dir().join("image.tar");
    std::fs::write(&path, archive).unwrap();
    bed.ctr().run(&format!("images import --local {}", path.display()))
}

fn entry(manifest: &[u8], media_type: &str) -> Value {
    let mut entry = descriptor(media_type, manifest);
    entry["annotations"] = json!({ "io.containerd.image.name": tests::bed::BUSYBOX });
    entry
}

/// The image still runs and the daemon still serves.
fn good_one_still_works(bed: &Bed) {
    let name = bed.import();
    bed.ctr().says(&format!("run --rm {name} after cat /etc/motd"), "last\n");
}

fn wrong_diff_id(bed: &mut Bed) {
    let good = image::busybox(tests::bed::BUSYBOX).blobs();
    let mut config: Value = serde_json::from_slice(&good.config).unwrap();
    let lie = digest(b"another layer");
    config["rootfs"]["diff_ids"][1] = lie.clone().into();
    let config = config.to_string().into_bytes();
    let mut manifest: Value = serde_json::from_slice(&good.manifest).unwrap();
    manifest["config"] = descriptor(media::CONFIG, &config);
    let manifest = manifest.to_string().into_bytes();
    let blobs = good.layers.iter().chain([&config, &manifest]).map(Vec::as_slice);
    let out = import(bed, &image::oci_archive(&[entry(&manifest, media::MANIFEST)], blobs));
    assert_ne!(out.code, 0, "{out:?}");
    let right = digest(&image::busybox(tests::bed::BUSYBOX).layers[1]);
    assert!(out.stderr.contains(&lie) || out.stderr.contains(&right), "{out:?}");
    let keys = bed.ctr().names("snapshots ls");
    assert!(keys.len() <= 1, "the first layer at most: {keys:?}");
    good_one_still_works(bed);
}

fn nested_indexes(bed: &mut Bed) {
    let good = image::busybox(tests::bed::BUSYBOX).blobs();
    let (mut top, mut kind, mut indexes) = (good.manifest.clone(), media::MANIFEST, Vec::new());
    for _ in 0..5 {
        let index = json!({ "schemaVersion": 2, "mediaType": media::INDEX, "manifests": [descriptor(kind, &top)] });
        (top, kind) = (index.to_string().into_bytes(), media::INDEX);
        indexes.push(top.clone());
    }
    let blobs = good.layers.iter().chain([&good.config, &good.manifest]).chain(&indexes).map(Vec::as_slice);
    let out = import(bed, &image::oci_archive(&[entry(&top, media::INDEX)], blobs));
    if bed.row.ctr == tests::Impl::Ours {
        // Ours stops at four: nobody nests them for a good reason.
        assert!(out.code != 0 && out.stderr.contains("nested more than"), "{out:?}");
        good_one_still_works(bed);
    } else {
        assert_eq!(out.code, 0, "{out:?}");
        bed.ctr().says(&format!("run --rm {} deep cat /etc/motd", tests::bed::BUSYBOX), "last\n");
    }
}

fn manifest_of_twenty_megabytes(bed: &mut Bed) {
    let good = image::busybox("example.com/huge:1").blobs();
    let mut manifest: Value = serde_json::from_slice(&good.manifest).unwrap();
    manifest["annotations"] = json!({ "padding": "x".repeat(20 << 20) });
    let manifest = manifest.to_string().into_bytes();
    let blobs = good.layers.iter().chain([&good.config, &manifest]).map(Vec::as_slice);
    let mut entry = entry(&manifest, media::MANIFEST);
    entry["annotations"] = json!({ "io.containerd.image.name": "example.com/huge:1" });
    let out = import(bed, &image::oci_archive(&[entry], blobs));
    // To take it is as good as to refuse it by name; to fall over is not.
    assert!(out.code == 0 || out.stderr.contains(&digest(&manifest)[7..]), "{out:?}");
    good_one_still_works(bed);
}

fn layer_that_is_not_there(bed: &mut Bed) {
    let good = image::busybox(tests::bed::BUSYBOX).blobs();
    let blobs = good.layers[1..].iter().chain([&good.config, &good.manifest]).map(Vec::as_slice);
    let out = import(bed, &image::oci_archive(&[entry(&good.manifest, media::MANIFEST)], blobs));
    assert_ne!(out.code, 0, "{out:?}");
    assert!(out.stderr.contains(&digest(&good.layers[0])), "{out:?}");
    good_one_still_works(bed);
}
