//! Layers that lie, attack or break: applied over gRPC, refused with a code, and nothing outside the root touched.

use std::fs;

use tar::EntryType;
use tests::api::Api;
use tests::image::{digest, media};
use tests::layer::{Layer, gzip};
use tests::{Bed, matrix};
use tonic::{Code, Status};

matrix! { wire:
    dotdot, absolute_paths, through_a_symlink, hardlink_to_the_outside, hardlink_to_nothing, truncated, not_a_tar,
    trailing_garbage, wrong_compressed_digest, absent_blob, unknown_media_type, bomb, deep_whiteouts,
}

/// A host file that no layer may reach, beside the daemon's directories.
const SECRET: &str = "secret";

struct Target {
    api: Api,
    root: std::path::PathBuf,
    outside: std::path::PathBuf,
}

impl Target {
    fn new(bed: &Bed) -> Self {
        let mut api = bed.api();
        api.hold_lease("layers");
        let outside = bed.daemon.dir().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join(SECRET), "untouched").unwrap();
        Self { api, root: bed.daemon.root().join("io.containerd.snapshotter.v1.overlayfs/snapshots"), outside }
    }

    /// Applies a tar onto a fresh snapshot.
    fn apply(&self, key: &str, tar: &[u8]) -> Result<String, Status> {
        let blob = gzip(tar);
        let digest = self.api.ingest(key, &blob).unwrap();
        let mounts = self.api.prepare(key, "").unwrap();
        let applied = self.api.apply(media::GZIP, &digest, blob.len(), mounts);
        assert_eq!(fs::read(self.outside.join(SECRET)).unwrap(), b"untouched");
        assert_eq!(tests::leaks::entries(&self.outside).len(), 1, "nothing was written outside");
        applied
    }

    /// Where the only snapshot's files are.
    fn files(&self) -> std::path::PathBuf {
        let snapshots = tests::leaks::entries(&self.root);
        assert_eq!(snapshots.len(), 1, "{snapshots:?}");
        snapshots[0].join("fs")
    }
}

/// Enough `..` to climb out of any snapshot, then down again to the outside.
fn climb(outside: &std::path::Path) -> String {
    format!("../../../../../../../../../..{}", outside.display())
}

fn dotdot(bed: &mut Bed) {
    let target = Target::new(bed);
    let name = format!("{}/{SECRET}", climb(&target.outside));
    let layer = Layer::new().file(&name, 0o644, b"overwritten").file("kept", 0o644, b"kept").finish();
    // Go resolves the name inside the root; refusing the layer is as good. Outside is outside.
    match target.apply("dotdot", &layer) {
        Ok(_) => assert_eq!(fs::read(target.files().join("kept")).unwrap(), b"kept"),
        Err(status) => assert!(status.message().contains(".."), "{status:?}"),
    }
}

fn absolute_paths(bed: &mut Bed) {
    let target = Target::new(bed);
    let name = format!("{}/{SECRET}", target.outside.display());
    let layer = Layer::new().file(&name, 0o644, b"inside").finish();
    assert_eq!(target.apply("absolute", &layer).unwrap(), digest(&layer));
    assert_eq!(fs::read(target.files().join(&name[1..])).unwrap(), b"inside");
}

fn through_a_symlink(bed: &mut Bed) {
    let target = Target::new(bed);
    let outside = target.outside.display().to_string();
    let layer = Layer::new().symlink("link", &outside).file(&format!("link/{SECRET}"), 0o644, b"inside").finish();
    target.apply("symlink", &layer).unwrap();
    assert_eq!(fs::read(target.files().join(&outside[1..]).join(SECRET)).unwrap(), b"inside");
}

fn hardlink_to_the_outside(bed: &mut Bed) {
    let target = Target::new(bed);
    let name = format!("{}/{SECRET}", climb(&target.outside));
    let layer = Layer::new().hardlink("stolen", &name).finish();
    let refused = target.apply("hardlink", &layer).unwrap_err();
    assert!(!target.files().join("stolen").exists(), "{refused:?}");
}

fn hardlink_to_nothing(bed: &mut Bed) {
    let target = Target::new(bed);
    let refused = target.apply("nothing", &Layer::new().hardlink("a", "absent").finish()).unwrap_err();
    assert!(refused.message().contains("absent"), "{refused:?}");
}

fn truncated(bed: &mut Bed) {
    let target = Target::new(bed);
    let whole = gzip(&Layer::new().file("file", 0o644, &[7; 100_000]).finish());
    let half = &whole[..whole.len() / 2];
    let digest = target.api.ingest("half", half).unwrap();
    let mounts = target.api.prepare("half", "").unwrap();
    let refused = target.api.apply(media::GZIP, &digest, half.len(), mounts).unwrap_err();
    assert!(["unexpected EOF", "incomplete"].iter().any(|why| refused.message().contains(why)), "{refused:?}");
    target.api.remove_snapshot("half").unwrap();

    let tar = Layer::new().file("file", 0o644, &[7; 100_000]).finish();
    assert!(target.apply("cut", &tar[..50_000]).is_err());
}

fn not_a_tar(bed: &mut Bed) {
    let target = Target::new(bed);
    assert!(target.apply("noise", &b"no tar here ".repeat(1000)).is_err());
}

fn trailing_garbage(bed: &mut Bed) {
    let target = Target::new(bed);
    let mut tar = Layer::new().file("file", 0o644, b"x").finish();
    tar.extend_from_slice(&[9; 5000]);
    // What follows the end mark belongs to the layer's digest and not to its files.
    assert_eq!(target.apply("garbage", &tar).unwrap(), digest(&tar));
}

fn wrong_compressed_digest(bed: &mut Bed) {
    let target = Target::new(bed);
    let blob = gzip(&Layer::new().file("file", 0o644, b"x").finish());
    let right = target.api.ingest("blob", &blob).unwrap();
    // Damage behind the store's back, of the same length.
    let path = bed.daemon.root().join("io.containerd.content.v1.content/blobs/sha256").join(&right[7..]);
    let mut other = gzip(&Layer::new().file("evil", 0o644, b"x").finish());
    other.resize(blob.len(), 0);
    fs::remove_file(&path).unwrap();
    fs::write(&path, other).unwrap();
    let mounts = target.api.prepare("damaged", "").unwrap();
    let applied = target.api.apply(media::GZIP, &right, blob.len(), mounts);
    if bed.row.daemon == tests::Impl::Ours {
        // Go applies it without a word: a difference on purpose.
        assert!(applied.unwrap_err().message().contains(&right));
    }
}

fn absent_blob(bed: &mut Bed) {
    let target = Target::new(bed);
    let absent = digest(b"absent");
    let mounts = target.api.prepare("absent", "").unwrap();
    let refused = target.api.apply(media::GZIP, &absent, 10, mounts);
    tests::api::assert_refused(refused, Code::NotFound, &absent);
}

fn unknown_media_type(bed: &mut Bed) {
    let target = Target::new(bed);
    let digest = target.api.ingest("blob", b"something").unwrap();
    let mounts = target.api.prepare("unknown", "").unwrap();
    let refused = target.api.apply("application/x-unheard-of", &digest, 9, mounts).unwrap_err();
    // Go has no code for it, though it means this one.
    assert!(matches!(refused.code(), Code::Unimplemented | Code::Unknown), "{refused:?}");
    assert!(refused.message().contains("application/x-unheard-of"), "{refused:?}");
}

fn bomb(bed: &mut Bed) {
    let target = Target::new(bed);
    // One member of zeros, again and again: a few kilobytes that inflate to two gigabytes of padding after the end.
    let member = gzip(&vec![0; 64 << 20]);
    let blob = [gzip(&Layer::new().file("file", 0o644, b"x").finish()), member.repeat(32)].concat();
    let digest = target.api.ingest("bomb", &blob).unwrap();
    let mounts = target.api.prepare("bomb", "").unwrap();
    let before = tests::memory::rss(bed.daemon.pid());
    target.api.apply(media::GZIP, &digest, blob.len(), mounts).expect("padding is legal");
    let grown = tests::memory::rss(bed.daemon.pid()).saturating_sub(before);
    assert!(grown < 64 << 20, "the daemon grew by {grown} bytes");
}

fn deep_whiteouts(bed: &mut Bed) {
    let target = Target::new(bed);
    for name in ["a/.wh...", ".wh..", "../.wh.outside", ".wh."] {
        let layer = Layer::new().dir("a").entry(name, EntryType::Regular, 0o644, b"", "").finish();
        drop(target.apply("whiteouts", &layer));
        target.api.remove_snapshot("whiteouts").unwrap();
        let removed: bool = !target.outside.exists();
        assert!(!removed, "{name} removed what is outside");
    }
}
