//! Which of an index's images come, by their platforms.

use std::fs;
use std::path::PathBuf;

use serde_json::{Value, json};
use tests::image::{self, MANY, linux};
use tests::{Bed, Ctr, Registry, matrix};

matrix! { storage: platforms, exactly_the_platform, converted_for_a_platform, versions_of_windows, documents_alone }

/// [`MANY`] as a file.
fn archive_for(bed: &Bed, platforms: &[Value]) -> (PathBuf, Vec<[String; 2]>) {
    let (archive, digests) = image::for_platforms(platforms);
    let path = bed.daemon.dir().join("platforms.tar");
    fs::write(&path, archive).unwrap();
    (path, digests)
}

/// An archive with an index of one image for amd64 and one for arm64, and the digests of their manifests.
fn two_platforms(bed: &Bed) -> (PathBuf, [String; 2]) {
    let (path, digests) = archive_for(bed, &[linux("amd64", ""), linux("arm64", "")]);
    let [[amd64, _], [arm64, _]] = &digests[..] else { panic!("two images") };
    (path, [amd64.clone(), arm64.clone()])
}

/// Which of the images have their layers here.
fn fetched(ctr: &Ctr, images: &[[String; 2]]) -> Vec<usize> {
    let names = ctr.names("content ls");
    (0..images.len()).filter(|&at| names.contains(&images[at][1])).collect()
}

fn platforms(bed: &mut Bed) {
    let (ctr, registry) = (bed.ctr(), Registry::open());
    let (archive, [amd64, arm64]) = two_platforms(bed);
    let remote = registry.name("two/platforms:1");
    ctr.ok(&format!("images import --local --all-platforms --no-unpack {}", archive.display()));
    ctr.ok(&format!("images push --plain-http {remote} {MANY}"));
    let index = ctr.target(MANY);
    let layers =
        |ctr: &Ctr| ctr.ok("content ls").lines().filter(|row| row.contains("containerd.io/uncompressed")).count();
    ctr.remove_images();
    for local in ["", "--local"] {
        ctr.ok(&format!("images pull {local} --plain-http --platform linux/amd64 {remote}"));
        assert_eq!(ctr.target(&remote), index, "the whole index keeps its digest");
        let names = ctr.names("content ls");
        assert!(
            names.contains(&amd64) && names.contains(&arm64),
            "documents of the other platform come too: {names:?}"
        );
        assert_eq!((names.len(), layers(&ctr)), (6, 1), "but not its layer: {names:?}");
        assert_eq!(ctr.names("snapshots ls").len(), 1);
        ctr.remove_images();
        ctr.ok(&format!("images pull {local} --plain-http --skip-metadata --platform linux/arm64 {remote}"));
        let names = ctr.names("content ls");
        assert!(names.contains(&arm64) && !names.contains(&amd64), "{names:?}");
        assert_eq!(names.len(), 4, "{names:?}");
        ctr.remove_images();
    }
    let both = ctr.fails(&format!("images pull --plain-http --all-platforms --platform linux/arm64 {remote}"));
    assert!(both.contains("--all-platforms"), "{both}");
    assert!(ctr.names("leases ls").is_empty());
}

/// amd64 runs 386 as well, and arm64 runs arm; neither is fetched, exported or imported with them.
fn exactly_the_platform(bed: &mut Bed) {
    let (ctr, registry) = (bed.ctr(), Registry::open());
    let (archive, images) =
        archive_for(bed, &[linux("amd64", ""), linux("386", ""), linux("arm64", ""), linux("arm", "v7")]);
    let remote = registry.name("many:1");
    ctr.ok(&format!("images import --local --all-platforms --no-unpack {}", archive.display()));
    ctr.ok(&format!("images push --plain-http {remote} {MANY}"));
    ctr.remove_images();
    let only = |wanted: usize, what: &str| assert_eq!(fetched(&ctr, &images), [wanted], "layers after {what}");
    for (platform, wanted) in [("", 0), ("--platform linux/386", 1), ("--platform linux/arm64", 2)] {
        for command in ["images pull --local", "content fetch"] {
            ctr.ok(&format!("{command} {platform} --plain-http {remote}"));
            only(wanted, &format!("{command} {platform}"));
            ctr.remove_images();
        }
    }
    ctr.ok(&format!("images pull --plain-http {remote}"));
    for local in ["", "--local"] {
        let out = bed.daemon.dir().join("exported.tar").display().to_string();
        ctr.ok(&format!("images export {local} {out} {remote}"));
        ctr.ok(&format!("images export {local} --platform linux/amd64 {out} {remote}"));
        ctr.fails(&format!("images export {local} --platform linux/386 {out} {remote}"));
    }
    ctr.remove_images();
    ctr.ok(&format!("images import --local --platform linux/amd64 {}", archive.display()));
    // Go's stores the whole archive first.
    ctr.ok("leases create --id collect");
    ctr.ok("leases rm --sync collect");
    only(0, "import");
}

fn converted_for_a_platform(bed: &mut Bed) {
    let ctr = bed.ctr();
    let (archive, [amd64, _]) = two_platforms(bed);
    ctr.ok(&format!("images import --local --all-platforms --no-unpack {}", archive.display()));
    ctr.ok(&format!("images convert --platform linux/arm64 --uncompress {MANY} example.com/arm64:1"));
    let row = ctr.ok("images ls name==example.com/arm64:1");
    assert!(row.contains("linux/arm64") && !row.contains("linux/amd64"), "{row}");
    ctr.ok(&format!("images rm --sync {MANY}"));
    assert!(!ctr.names("content ls").contains(&amd64), "the other one was left out");
    assert_eq!(ctr.names("images ls"), ["example.com/arm64:1"]);
}

/// As for another machine: a build of Windows takes those since the stable release before it.
fn versions_of_windows(bed: &mut Bed) {
    let (ctr, registry) = (bed.ctr(), Registry::open());
    let windows = |version: &str| json!({ "os": "windows", "architecture": "amd64", "os.version": version });
    let all = [windows("10.0.17763.6893"), windows("10.0.20348.3207"), windows("10.0.26100.3194"), linux("amd64", "")];
    let (archive, images) = archive_for(bed, &all);
    let remote = registry.name("windows:1");
    ctr.ok(&format!("images import --local --all-platforms --no-unpack {}", archive.display()));
    ctr.ok(&format!("images push --plain-http {remote} {MANY}"));
    ctr.remove_images();
    for (platform, wanted) in [
        ("windows(10.0.17763)/amd64", &[0][..]),
        ("windows(10.0.17763.1)/x86_64", &[0]),
        ("windows(10.0.20348)", &[1]),
        ("windows(10.0.26100.1)/amd64", &[1, 2]),
        ("windows/amd64", &[0, 1, 2]),
        ("linux/amd64", &[3]),
    ] {
        ctr.ok(&format!("content fetch --platform {platform} --plain-http {remote}"));
        assert_eq!(fetched(&ctr, &images), wanted, "{platform}");
        ctr.remove_images();
    }
    ctr.ok(&format!("content fetch --all-platforms --plain-http {remote}"));
    let export = format!("{}/exported.tar {remote}", bed.daemon.dir().display());
    ctr.ok(&format!("images export --local --platform windows(10.0.26200)/amd64 {export}"));
    for (platform, why) in [
        ("windows(10.0.14393)/amd64", "for platform"),
        ("windows(10.0.17763/amd64", "windows(10.0.17763/amd64"),
        ("amd64(10.0.17763)", "amd64(10.0.17763)"),
    ] {
        let refused = ctr.fails(&format!("images export --local --platform {platform} {export}"));
        assert!(refused.contains(why), "{refused}");
    }
}

fn documents_alone(bed: &mut Bed) {
    let (ctr, registry) = (bed.ctr(), Registry::open());
    let (archive, images) = archive_for(bed, &[linux("amd64", ""), linux("arm64", "")]);
    let remote = registry.name("many:1");
    ctr.ok(&format!("images import --local --all-platforms --no-unpack {}", archive.display()));
    ctr.ok(&format!("images push --plain-http {remote} {MANY}"));
    ctr.remove_images();
    ctr.ok(&format!("content fetch --metadata-only --plain-http {remote}"));
    let names = ctr.names("content ls");
    assert_eq!(names.len(), 5, "an index, two manifests, two configurations: {names:?}");
    for [manifest, layer] in &images {
        assert!(names.contains(manifest) && !names.contains(layer), "{names:?}");
    }
}
