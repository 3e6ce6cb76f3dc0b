//! Archives of every form, and the names their images get.

use crate::with_ctr;
use std::io::Write as _;
use tests::image::{busybox, digest};

const NAME: &str = "example.com/test/good:1";

#[test]
fn compressed_archives_come_in_through_a_pipe() {
    with_ctr(|_, ctr| {
        let archive = busybox(NAME).oci_archive();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(&archive).unwrap();
        let zstd = zstd::encode_all(archive.as_slice(), 1).unwrap();
        for bytes in [gzip.finish().unwrap(), zstd] {
            ctr.feed("images import -", &bytes);
            assert_eq!(ctr.names("images ls"), [NAME]);
            assert!(ctr.ok("images check").contains("complete (4/4)"));
            ctr.ok(&format!("images rm --sync {NAME}"));
            assert!(ctr.names("snapshots ls").is_empty());
        }
    });
}

#[test]
fn names_follow_the_flags() {
    with_ctr(|daemon, ctr| {
        let image = busybox("v1");
        let file = daemon.dir().join("tagged.tar");
        // An OCI layout that has a tag only.
        let archive = image.oci_archive();
        let archive = replace(&archive, "io.containerd.image.name", "org.opencontainers.image.ref.name");
        std::fs::write(&file, archive).unwrap();
        let import = |flags: &str| ctr.ok(&format!("images import --no-unpack {flags} {}", file.display()));
        import("--base-name example.com/app");
        assert_eq!(ctr.names("images ls"), ["example.com/app:v1"]);
        ctr.ok("images rm example.com/app:v1");

        import("--base-name example.com/app --digests --index-name example.com/index:1 --label a=b");
        let manifest = digest(&image.blobs().manifest);
        let mut names = ctr.names("images ls");
        names.sort();
        let by_digest = format!("example.com/app@{manifest}");
        assert_eq!(names, ["example.com/app:v1", by_digest.as_str(), "example.com/index:1"]);
        assert!(ctr.ok("images ls").lines().nth(1).unwrap().contains("a=b"));
        ctr.ok(&format!("images rm --sync {}", names.join(" ")));

        import("");
        let name = &ctr.names("images ls")[0];
        assert!(name.starts_with("import-20") && name.ends_with(":v1"), "{name}");
    });
}

/// `archive` with one text for another of any length: the tar's own sizes are made good.
fn replace(archive: &[u8], old: &str, new: &str) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let path = entry.path().unwrap().into_owned();
        let mut bytes = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut bytes).unwrap();
        if path.ends_with("index.json") {
            bytes = String::from_utf8(bytes).unwrap().replace(old, new).into_bytes();
        }
        let mut header = entry.header().clone();
        header.set_size(bytes.len() as u64);
        tar.append_data(&mut header, path, bytes.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}
