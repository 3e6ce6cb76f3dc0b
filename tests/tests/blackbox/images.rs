//! Images through ctr: archives in and out, names, labels, checks; layers applied as the image says.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use serde_json::{Value, json};
use tests::bed::BUSYBOX;
use tests::{Bed, image, matrix, rows};

matrix! { storage:
    import_unpacks, docker_archive, listing, tagging, labels, removal_frees_everything, export_and_import_again,
    names_of_an_import, records_are_dated, nothing_to_remove, not_an_archive, check_reports_missing_content, mounted_image, several_images_in_one_archive,
}

rows!(encrypted_layers_are_refused_by_name: ours(Ours Ours Go) our_ctr(Ours Ours Ours));

/// Writes bytes beside the daemon's directories.
fn write(bed: &Bed, name: &str, bytes: &[u8]) -> PathBuf {
    let path = bed.daemon.dir().join(name);
    fs::write(&path, bytes).unwrap();
    path
}

fn import_unpacks(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    assert_eq!(ctr.names("images ls"), [image]);
    let keys = ctr.names("snapshots ls");
    assert_eq!(keys.len(), 3, "one committed snapshot for each layer: {keys:?}");
    let blobs = ctr.names("content ls");
    let parts = image::busybox(BUSYBOX).blobs();
    for part in parts.layers.iter().chain([&parts.config, &parts.manifest]) {
        assert!(blobs.contains(&image::digest(part)), "{blobs:?}");
    }
}

fn docker_archive(bed: &mut Bed) {
    let archive = write(bed, "docker.tar", &image::busybox("example.com/from/docker:2").docker_archive());
    let ctr = bed.ctr();
    ctr.ok(&format!("images import --local {}", archive.display()));
    assert_eq!(ctr.names("images ls"), ["example.com/from/docker:2"]);
    assert_eq!(ctr.names("snapshots ls").len(), 3);
}

fn listing(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let table = ctr.ok("images ls");
    let head: Vec<&str> = table.lines().next().unwrap().split_whitespace().collect();
    assert_eq!(head, ["REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS"]);
    let row = table.lines().nth(1).unwrap();
    assert!(
        row.contains("application/vnd.oci.image.") && row.contains("linux/amd64") && row.contains("sha256:"),
        "{row}"
    );
    assert_eq!(ctr.ok("images ls -q"), format!("{image}\n"));
    assert_eq!(ctr.ok("images ls -q name==example.com/no"), "");
    assert_eq!(ctr.ok("images ls -q name~=busybox"), format!("{image}\n"));
    assert!(ctr.fails("images ls name~~=x").contains("~~="));
}

fn tagging(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("images tag --local {image} example.com/other:3"));
    assert_eq!(ctr.names("images ls"), ["example.com/other:3", image]);
    let again = ctr.fails(&format!("images tag --local {image} example.com/other:3"));
    assert!(again.contains("example.com/other:3") && again.contains("already exists"), "{again}");
    ctr.ok(&format!("images tag --local --force {image} example.com/other:3"));
    assert!(ctr.fails("images tag --local example.com/absent:1 example.com/x:1").contains("example.com/absent:1"));
}

fn labels(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("images label {image} team=red tier=1"));
    let table = ctr.ok("images ls");
    assert!(table.contains("team=red") && table.contains("tier=1"), "{table}");
    assert_eq!(ctr.ok("images ls -q labels.team==red"), format!("{image}\n"));
    assert_eq!(ctr.ok("images ls -q labels.team==blue"), "");
    ctr.ok(&format!("images label {image} team="));
    assert_eq!(ctr.ok("images ls -q labels.team==red"), "");
}

fn removal_frees_everything(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("images rm --sync {image}"));
    assert!(ctr.names("images ls").is_empty());
    assert!(ctr.names("content ls").is_empty());
    assert!(ctr.names("snapshots ls").is_empty());
    let blobs = bed.daemon.root().join("io.containerd.content.v1.content/blobs/sha256");
    let left = || tests::leaks::entries(&blobs);
    tests::eventually("the blobs to be deleted", || left().is_empty());
    let snapshots = bed.daemon.root().join("io.containerd.snapshotter.v1.overlayfs/snapshots");
    tests::eventually("the snapshots to be deleted", || tests::leaks::entries(&snapshots).is_empty());
}

fn export_and_import_again(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let archive = bed.daemon.dir().join("export.tar");
    ctr.ok(&format!("images export --local {} {image}", archive.display()));
    let before = ctr.ok("content ls -q");
    ctr.ok(&format!("images rm --sync {image}"));
    ctr.ok(&format!("images import --local {}", archive.display()));
    assert_eq!(ctr.names("images ls"), [image]);
    let after = ctr.ok("content ls -q");
    let manifest = image::digest(&image::busybox(BUSYBOX).blobs().manifest);
    assert!(before.contains(&manifest) && after.contains(&manifest), "{after}");
    assert_eq!(ctr.names("snapshots ls").len(), 3);
}

fn names_of_an_import(bed: &mut Bed) {
    let (ctr, archive) = (bed.ctr(), image::busybox_archive().display());
    // The name that containerd itself has written stays, whatever the prefix is. Nothing is said of what is not unpacked.
    let said = ctr.ok(&format!("images import --local --no-unpack --base-name example.com/other {archive}"));
    assert_eq!((said.as_str(), ctr.names("images ls")), ("", vec![BUSYBOX.to_owned()]));
    let error = ctr.fails(&format!("images import --local --skip-digest-for-named {archive}"));
    assert!(error.contains("--digests"), "{error}");
    ctr.ok(&format!("images import --skip-digest-for-named {archive}"));
}

/// As `SOURCE_DATE_EPOCH` says, where ctr makes the record.
fn records_are_dated(bed: &mut Bed) {
    let (image, ctr) = (bed.import(), bed.ctr());
    let dated = |line: &str, epoch: &str| {
        let out = ctr.command(line).env("SOURCE_DATE_EPOCH", epoch).output().unwrap();
        assert!(out.status.success(), "{line}: {out:?}");
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    dated(&format!("images tag --local {image} example.com/dated:1"), "1000000000");
    let tree = ctr.ok("images inspect example.com/dated:1");
    assert_eq!(tree.matches("ated: 2001-09-09 01:46:40").count(), 2, "{tree}");
    dated("images label example.com/dated:1 a=b", "1100000000");
    let tree = ctr.ok("images inspect example.com/dated:1");
    assert!(tree.contains("Created: 2001-09-09") && tree.contains("Updated: 2004-11-09 11:33:20"), "{tree}");
    dated(&format!("images convert --uncompress {image} example.com/converted:1"), "1000000000");
    assert!(ctr.ok("images inspect example.com/converted:1").contains("Created: 2001-09-09"));
    let warning = dated(&format!("images tag --local {image} example.com/now:1"), "yesterday");
    assert!(warning.contains("SOURCE_DATE_EPOCH"), "{warning}");
}

fn nothing_to_remove(bed: &mut Bed) {
    let (image, ctr) = (bed.import(), bed.ctr());
    for noun in ["images", "content", "snapshots", "leases", "namespaces", "tasks"] {
        ctr.ok(&format!("{noun} rm"));
    }
    assert_eq!(ctr.names("images ls"), [image]);
    let pruned = ctr.run("images prune --all");
    assert_eq!((pruned.code, pruned.stdout.as_str()), (0, ""));
    assert!(pruned.stderr.contains(image), "{pruned:?}");
    assert!(ctr.names("images ls").is_empty());
}

fn not_an_archive(bed: &mut Bed) {
    let ctr = bed.ctr();
    for (name, bytes) in [("noise", &b"this is not a tar at all".repeat(100)[..]), ("empty.tar", &[0; 1024])] {
        let archive = write(bed, name, bytes);
        ctr.fails(&format!("images import --local {}", archive.display()));
    }
    ctr.fails("images import --local /no/such/archive.tar");
    assert!(ctr.names("images ls").is_empty());
    assert!(ctr.names("leases ls").is_empty(), "a failed import keeps nothing alive");
}

fn check_reports_missing_content(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let row = ctr.ok("images check").lines().nth(1).unwrap().to_owned();
    assert!(row.contains("complete (4/4)") && row.trim_end().ends_with("true"), "{row}");
    let layer = image::digest(&image::busybox(BUSYBOX).blobs().layers[1]);
    ctr.ok(&format!("content rm {layer}"));
    let row = ctr.ok("images check").lines().nth(1).unwrap().to_owned();
    assert!(row.starts_with(image) && row.contains("incomplete (3/4)"), "{row}");
    // Without its configuration nobody can tell whether it is unpacked; without its manifest nothing.
    let parts = image::busybox(BUSYBOX).blobs();
    for (part, status) in [(&parts.config, "incomplete (2/4)"), (&parts.manifest, "unavailable (0/?)")] {
        ctr.ok(&format!("content rm {}", image::digest(part)));
        let check = ctr.run("images check");
        assert_eq!(check.code, 1, "{check:?}");
        let row = check.stdout.lines().nth(1).unwrap();
        assert!(row.contains(status) && row.trim_end().ends_with("false"), "{row}");
    }
}

fn mounted_image(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let target = bed.daemon.dir().join("mounted");
    fs::create_dir(&target).unwrap();
    ctr.ok(&format!("images mount -u me:x --label a=b -k {image} {}", target.display()));
    assert_eq!(fs::read_to_string(target.join("etc/motd")).unwrap(), "last\n");
    assert!(!target.join("gone").exists(), "the whiteout of the last layer");
    assert_eq!(fs::read_link(target.join("bin/sh")).unwrap(), PathBuf::from("busybox"));
    assert!(fs::write(target.join("new"), "").is_err(), "mounted read-only");
    // Held for a day.
    let mut list = ctr.command("leases ls");
    let leases = String::from_utf8(list.env("TZ", "UTC").output().unwrap().stdout).unwrap();
    let expires = leases.split("containerd.io/gc.expire=").nth(1).unwrap().get(..13).unwrap().to_owned();
    let date = |when: &str| {
        let date = Command::new("date").args(["-u", "-d", when, "+%Y-%m-%dT%H"]).output().unwrap().stdout;
        String::from_utf8(date).unwrap().trim().to_owned()
    };
    assert!(expires > date("22 hours") && expires < date("26 hours"), "{leases}");
    // Flags of Go's that have no effect here.
    ctr.ok(&format!("images unmount --rm --plain-http --label a=b {}", target.display()));
    assert!(!target.join("etc").exists());
    assert_eq!(ctr.names("snapshots ls").len(), 3);
}

/// In and out by the daemon and by ctr itself; what comes out is read by skopeo as Docker's archive.
fn several_images_in_one_archive(bed: &mut Bed) {
    let mut images = ["example.com/two/a:1", "example.com/two/b:1"].map(image::busybox);
    images[1].config["Labels"] = json!({ "which": "b" });
    let blobs = images.each_ref().map(image::Image::blobs);
    let entry = |(image, blobs): (&image::Image, &image::Blobs)| {
        let mut entry = image::descriptor(image::media::MANIFEST, &blobs.manifest);
        entry["annotations"] = json!({ "io.containerd.image.name": image.name });
        entry
    };
    let entries: Vec<_> = images.iter().zip(&blobs).map(entry).collect();
    let documents = blobs.iter().flat_map(|blobs| [&blobs.config, &blobs.manifest]);
    let archive = image::oci_archive(&entries, blobs[0].layers.iter().chain(documents).map(Vec::as_slice));
    let (archive, ctr) = (write(bed, "two.tar", &archive), bed.ctr());
    let names = images.each_ref().map(|image| image.name.as_str());
    for (at, local) in ["", "--local"].into_iter().enumerate() {
        ctr.ok(&format!("images import {local} {}", archive.display()));
        assert_eq!(ctr.names("images ls"), names);
        let exported = write(bed, "exported.tar", &crate::transfer::export(bed, local, &names.join(" ")));
        for (name, blobs) in names.iter().zip(&blobs) {
            let folder = bed.daemon.dir().join(format!("copy-{at}-{}", image::digest(&blobs.config)));
            let (source, target) =
                (format!("docker-archive:{}:{name}", exported.display()), format!("dir:{}", folder.display()));
            let copied = Command::new("skopeo").args(["copy", "-q", &source, &target]).output().unwrap();
            assert!(copied.status.success(), "{source}: {}", String::from_utf8_lossy(&copied.stderr));
            let config = fs::read(folder.join(&image::digest(&blobs.config)[7..])).unwrap();
            assert!(config == blobs.config, "{name} has its own configuration");
        }
        ctr.ok(&format!("images rm --sync {}", names.join(" ")));
    }
}

/// By whatever unpacks them: the daemon's transfer, or its Diff service at a client's request.
fn encrypted_layers_are_refused_by_name(bed: &mut Bed) {
    let ctr = bed.ctr();
    // The first is nobody's; the default configuration has a program for the second, which no machine of ours has.
    for (suffix, named) in [("tar+zstd+encrypted", "tar+zstd+encrypted"), ("tar+gzip+encrypted", "ctd-decoder")] {
        let mut image = image::busybox(BUSYBOX).blobs();
        let mut manifest: Value = serde_json::from_slice(&image.manifest).unwrap();
        manifest["layers"][0]["mediaType"] = format!("application/vnd.oci.image.layer.v1.{suffix}").into();
        image.manifest = manifest.to_string().into_bytes();
        let mut entry = image::descriptor(image::media::MANIFEST, &image.manifest);
        entry["annotations"] = json!({ "io.containerd.image.name": BUSYBOX });
        let all = image.layers.iter().chain([&image.config, &image.manifest]);
        let archive = write(bed, "encrypted.tar", &image::oci_archive(&[entry], all.map(Vec::as_slice)));
        let refused = |line: &str| {
            let error = ctr.fails(line);
            assert!(error.contains(named) && error.contains(&image::digest(&image.layers[0])), "{line}: {error}");
        };
        for local in ["", "--local"] {
            refused(&format!("images import {local} {}", archive.display()));
        }
        ctr.ok(&format!("images import --local --no-unpack {}", archive.display()));
        refused(&format!("snapshots unpack {}", image::digest(&image.manifest)));
    }
    assert!(ctr.names("snapshots ls").is_empty());
}
