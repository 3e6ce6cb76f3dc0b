//! Archives that cannot be imported: each refused with a reason, and nothing of it kept.

use crate::with_ctr;
use serde_json::json;
use std::path::Path;
use tar::{Builder, Header};
use tests::image::{self, busybox, descriptor, digest, media};
use tests::{Ctr, Daemon};

const NAME: &str = "example.com/test/bad:1";

/// A tar of files as they are, paths unchecked.
fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    for (name, bytes) in files {
        let mut header = Header::new_gnu();
        // `set_path` would refuse what is to be refused by others here.
        header.as_mut_bytes()[..name.len()].copy_from_slice(name.as_bytes());
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        tar.append(&header, *bytes).unwrap();
    }
    tar.into_inner().unwrap()
}

/// Imports `archive`, once as a file and once through a pipe. Both must fail with a message that has `reason`.
fn refused(daemon: &Daemon, ctr: &Ctr, archive: &[u8], reason: &str) {
    let file = daemon.dir().join("archive.tar");
    std::fs::write(&file, archive).unwrap();
    for stdin in [None, Some(archive)] {
        let stderr = match stdin {
            None => ctr.fails(&format!("images import --local {}", file.display())),
            Some(bytes) => fails_with(ctr, "images import --local -", bytes),
        };
        assert!(stderr.contains(reason), "{reason:?} is not in: {stderr}");
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(ctr.names("images ls").is_empty(), "no image of {reason:?}");
        assert!(ctr.names("leases ls").is_empty(), "no lease of {reason:?}");
        assert!(ctr.names("snapshots ls").is_empty(), "no snapshot of {reason:?}");
    }
}

fn fails_with(ctr: &Ctr, line: &str, stdin: &[u8]) -> String {
    let child = ctr.command(line).stdin(std::process::Stdio::piped()).spawn().unwrap();
    let out = tests::ctr::output(child, stdin);
    assert!(out.code != 0 && out.code != 124, "`ctr {line}` was expected to fail: {out:?}");
    out.stderr
}

/// An index entry with the name of the image.
fn entry(media_type: &str, bytes: &[u8]) -> serde_json::Value {
    let mut entry = descriptor(media_type, bytes);
    entry["annotations"] = json!({"io.containerd.image.name": NAME});
    entry
}

#[test]
fn what_is_no_archive() {
    with_ctr(|daemon, ctr| {
        refused(daemon, ctr, &b"certainly not a tar\n".repeat(100), "not a whole tar archive");
        refused(daemon, ctr, &[0; 1024], "is not an image");
        refused(daemon, ctr, &tar(&[("hello", b"world")]), "is not an image");
        let good = busybox(NAME).oci_archive();
        refused(daemon, ctr, &good[..good.len() / 2], "");
        let error = ctr.fails("images import --local /no/such/archive.tar");
        assert!(error.contains("/no/such/archive.tar"), "{error}");
    });
}

#[test]
fn paths_that_lead_out() {
    with_ctr(|daemon, ctr| {
        for path in ["../../etc/passwd", "blobs/../../x"] {
            refused(daemon, ctr, &tar(&[(path, b"x")]), path);
        }
        assert!(!Path::new("/x").exists());
    });
}

#[test]
fn an_index_too_deep() {
    with_ctr(|daemon, ctr| {
        let blobs = busybox(NAME).blobs();
        let mut documents = vec![blobs.manifest.clone()];
        let mut inner = descriptor(media::MANIFEST, &blobs.manifest);
        for _ in 0..5 {
            let index = json!({"schemaVersion": 2, "mediaType": media::INDEX, "manifests": [inner]}).to_string();
            inner = entry(media::INDEX, index.as_bytes());
            documents.push(index.into_bytes());
        }
        let all = blobs.layers.iter().chain([&blobs.config]).chain(&documents);
        refused(daemon, ctr, &image::oci_archive(&[inner], all.map(Vec::as_slice)), "nested more than");
    });
}

#[test]
fn a_manifest_of_20_megabytes() {
    with_ctr(|daemon, ctr| {
        let mut manifest = busybox(NAME).blobs().manifest;
        manifest.resize(20 << 20, b' ');
        let archive = image::oci_archive(&[entry(media::MANIFEST, &manifest)], [manifest.as_slice()].into_iter());
        let file = daemon.dir().join("archive.tar");
        std::fs::write(&file, &archive).unwrap();
        let error = ctr.fails(&format!("images import --local {}", file.display()));
        assert!(error.contains("20971520 bytes") && error.contains(&digest(&manifest)[7..]), "{error}");
        assert!(ctr.names("images ls").is_empty());
        // Through a pipe it is a blob like any other, and found to be no document only when it is wanted.
        let error = fails_with(ctr, "images import --local -", &archive);
        assert!(error.contains(&digest(&manifest)[7..]), "{error}");
        assert!(ctr.names("images ls").is_empty());
    });
}

#[test]
fn blobs_that_are_not_what_they_should_be() {
    with_ctr(|daemon, ctr| {
        let blobs = busybox(NAME).blobs();
        let named = entry(media::MANIFEST, &blobs.manifest);
        let index = json!({"schemaVersion": 2, "manifests": [named]}).to_string();
        let path = |bytes: &[u8]| format!("blobs/sha256/{}", &digest(bytes)[7..]);
        // The last layer has one byte changed, but the path of the right one.
        let mut wrong = blobs.layers[2].clone();
        wrong[20] ^= 1;
        let mut files: Vec<(String, &[u8])> = vec![
            ("oci-layout".into(), br#"{"imageLayoutVersion":"1.0.0"}"#),
            ("index.json".into(), index.as_bytes()),
            (path(&blobs.manifest), &blobs.manifest),
            (path(&blobs.config), &blobs.config),
            (path(&blobs.layers[0]), &blobs.layers[0]),
            (path(&blobs.layers[1]), &blobs.layers[1]),
            (path(&blobs.layers[2]), &wrong),
        ];
        let write = |files: &[(String, &[u8])]| {
            tar(&files.iter().map(|(name, bytes)| (name.as_str(), *bytes)).collect::<Vec<_>>())
        };
        refused(daemon, ctr, &write(&files), &digest(&blobs.layers[2]));
        // Without the layer at all.
        files.pop();
        refused(daemon, ctr, &write(&files), &digest(&blobs.layers[2]));
        // A manifest under a path that is not its own.
        files[2].1 = &blobs.config;
        refused(daemon, ctr, &write(&files), &digest(&blobs.manifest)[7..]);
    });
}

#[test]
fn a_layer_that_unpacks_to_something_else() {
    with_ctr(|daemon, ctr| {
        let mut image = busybox(NAME);
        let config = String::from_utf8(image.blobs().config).unwrap();
        let promised = digest(b"other").to_string();
        let config = config.replace(&digest(&image.layers[1]), &promised).into_bytes();
        let layers = image.blobs().layers;
        image.layers.clear();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": media::MANIFEST, "config": descriptor(media::CONFIG, &config),
            "layers": layers.iter().map(|layer| descriptor(media::GZIP, layer)).collect::<Vec<_>>(),
        });
        let manifest = manifest.to_string().into_bytes();
        let all = layers.iter().chain([&config, &manifest]).map(Vec::as_slice);
        let archive = image::oci_archive(&[entry(media::MANIFEST, &manifest)], all);
        let file = daemon.dir().join("archive.tar");
        std::fs::write(&file, &archive).unwrap();
        let error = ctr.fails(&format!("images import --local {}", file.display()));
        assert!(error.contains(&promised) && error.contains(&digest(&layers[1])), "{error}");
        assert!(ctr.names("images ls").is_empty());
        let kinds = ctr.ok("snapshots ls");
        assert!(!kinds.contains("Active"), "no extraction is left: {kinds}");
    });
}

#[test]
fn an_image_for_another_machine() {
    with_ctr(|daemon, ctr| {
        let blobs = busybox(NAME).blobs();
        let mut named = entry(media::MANIFEST, &blobs.manifest);
        named["platform"] = json!({"os": "linux", "architecture": "s390x"});
        let all = blobs.layers.iter().chain([&blobs.config, &blobs.manifest]).map(Vec::as_slice);
        refused(daemon, ctr, &image::oci_archive(&[named], all), "it has linux/s390x");
    });
}
