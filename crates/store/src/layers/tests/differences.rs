//! Layers we write: unpacked onto the lower tree they give the upper one, and they are the same every time.

use super::*;
use crate::layers::{TAR_GZIP, TAR_ZSTD};
use model::Timestamp;
use std::{collections::hash_map::RandomState, os::unix::fs::symlink};
use sys::mount::TempMount;

#[test]
fn a_tree_survives_the_round_trip() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    let long = "d/".repeat(60);
    let archive = Archive::new()
        .add(Member { mode: 0o3775, uid: 1, gid: 2, ..member(Kind::Directory, "dir/") }, b"")
        .add(Member { mode: 0o4511, uid: 3_000_000, gid: 4_000_000, ..member(Kind::File, "dir/suid") }, b"x")
        .file(&format!("{long}{}", "n".repeat(200)), "long name")
        .file("dir/é", "not ASCII")
        .symlink("dir/link", &"target/".repeat(30))
        .hardlink("dir/z-alias", "dir/suid")
        .hardlink("a-alias", "dir/suid")
        .add(Member { device: (10, 200), mode: 0o600, ..member(Kind::CharDevice, "dir/tun") }, b"")
        .add(Member { mode: 0o600, ..member(Kind::Fifo, "dir/pipe") }, b"")
        .xattr("dir/x", b"user.key", b"\0value\n")
        .xattr("dir/cap", b"security.capability", &[1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])
        .bytes();
    unpack(&archive, &bind(&upper)).unwrap();
    let socket = std::os::unix::net::UnixListener::bind(upper.join("dir/socket")).unwrap();
    let (layer, written) = pack(&[], &bind(&upper));
    drop(socket);
    let applied = unpack(&layer, &bind(&lower)).unwrap();
    assert_eq!((&applied.diff_id, applied.size), (&written.diff_id, written.size));
    assert_eq!((&written.digest, written.media_type.as_str()), (&written.diff_id, TAR));
    fs::remove_file(upper.join("dir/socket")).unwrap();
    assert_eq!(describe(&lower, false), describe(&upper, false));
    assert_eq!(pack(&[], &bind(&lower)).0, layer, "the same tree gives the same bytes");
}

#[test]
fn every_compression_says_the_same() {
    let scratch = Scratch::new();
    let upper = scratch.dir("upper");
    fs::write(upper.join("file"), vec![b'x'; 3 << 20]).unwrap();
    let plain = pack(&[], &bind(&upper)).1;
    for (asked, got) in [("", TAR_GZIP), (TAR_GZIP, TAR_GZIP), (TAR_ZSTD, TAR_ZSTD)] {
        let mut layer = Vec::new();
        let written = diff(&[], &bind(&upper), asked, &DiffOptions::default(), &mut layer).unwrap();
        assert_eq!((written.media_type.as_str(), &written.diff_id), (got, &plain.diff_id));
        assert_eq!(written.size, layer.len() as u64);
        let options = ApplyOptions { expected: Some((written.digest, written.size)), ..ApplyOptions::default() };
        let lower = scratch.dir(if asked.is_empty() { "default" } else { asked.rsplit('+').next().unwrap() });
        assert_eq!(apply(&layer[..], got, &bind(&lower), &options).unwrap().diff_id, plain.diff_id);
        assert_eq!(describe(&lower, false).len(), 1);
    }
    let error = diff(&[], &bind(&upper), "text/plain", &DiffOptions::default(), Vec::new()).unwrap_err();
    assert_eq!(error.kind(), model::Kind::Unimplemented);
    assert!(error.to_string().contains("text/plain"));
}

#[test]
fn times_are_clamped_and_cut_to_seconds() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    for (name, seconds) in [("old", 1_000), ("new", 2_000_000_000), ("before", -5)] {
        fs::write(upper.join(name), "").unwrap();
        set_mtime(&upper.join(name), seconds, 999_999_999);
    }
    let epoch = Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let mut layer = Vec::new();
    diff(&[], &bind(&upper), TAR, &DiffOptions { source_date_epoch: Some(epoch) }, &mut layer).unwrap();
    unpack(&layer, &bind(&lower)).unwrap();
    let time = |name: &str| {
        (fs::metadata(lower.join(name)).unwrap().mtime(), fs::metadata(lower.join(name)).unwrap().mtime_nsec())
    };
    assert_eq!((time("old"), time("new")), ((1_000, 0), (1_700_000_000, 0)));
    // Unpacked, times before 1970 become 1970, as in Go containerd.
    assert_eq!(time("before"), (0, 0));
}

#[test]
fn what_did_not_change_is_not_written() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    let base = Archive::new().dir("d").file("d/same", "same").file("d/other", "one").file("gone", "").dir("e").bytes();
    unpack(&base, &bind(&lower)).unwrap();
    unpack(&base, &bind(&upper)).unwrap();
    assert_eq!(pack(&bind(&lower), &bind(&upper)).1.size, 1024, "an empty archive");
    fs::write(upper.join("d/other"), "two").unwrap();
    fs::remove_file(upper.join("gone")).unwrap();
    let (layer, _) = pack(&bind(&lower), &bind(&upper));
    let names = entries(&layer);
    assert_eq!(names, ["d/", "d/other", ".wh.gone"]);
    // Same size and whole seconds: only the contents tell.
    set_mtime(&upper.join("d/other"), 1_600_000_000, 0);
    assert_eq!(entries(&pack(&bind(&lower), &bind(&upper)).0), ["d/", "d/other", ".wh.gone"]);
}

#[test]
fn an_unchanged_name_of_a_changed_file_is_written_as_a_link() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    fs::create_dir_all(lower.join("a")).unwrap();
    fs::create_dir_all(upper.join("a")).unwrap();
    for root in [&lower, &upper] {
        fs::write(root.join("a/one"), "data").unwrap();
        set_mtime(&root.join("a/one"), 5, 5);
    }
    fs::hard_link(upper.join("a/one"), upper.join("two")).unwrap();
    let (layer, _) = pack(&bind(&lower), &bind(&upper));
    assert_eq!(entries(&layer), ["two", "a/", "a/one"]);
    unpack(&layer, &bind(&lower)).unwrap();
    assert_eq!(fs::metadata(lower.join("a/one")).unwrap().ino(), fs::metadata(lower.join("two")).unwrap().ino());
}

#[test]
fn a_file_named_like_a_whiteout_deletes_nothing() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    for root in [&lower, &upper] {
        fs::write(root.join("kept"), "").unwrap();
        set_mtime(&root.join("kept"), 5, 5);
    }
    fs::write(upper.join(".wh.kept"), "").unwrap();
    assert_eq!(entries(&pack(&bind(&lower), &bind(&upper)).0), [""; 0]);
}

/// Entry names of an archive, as another program would list them.
fn entries(layer: &[u8]) -> Vec<String> {
    let mut archive = tar::Archive::new(layer);
    let name = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        String::from_utf8(entry.unwrap().path_bytes().into_owned()).unwrap()
    };
    archive.entries().unwrap().map(name).collect()
}

/// Changes a tree at random; what is there is known only by looking.
struct Chaos {
    state: u64,
    /// Every change gets a time of its own: an overlay copies a file up, and so parts it from its other names, also
    /// for a change that changes nothing, which no layer can tell.
    clock: i64,
}

impl Chaos {
    fn new(seed: u64) -> Self {
        Self { state: seed, clock: 1_500_000_000 }
    }

    fn next(&mut self, below: usize) -> usize {
        self.state = self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.state >> 33) as usize % below
    }

    fn path(&mut self) -> PathBuf {
        let depth = 1 + self.next(3);
        (0..depth).map(|_| ["a", "b", "c", "a.b", "ä"][self.next(5)]).collect()
    }

    fn change(&mut self, root: &Path) {
        let path = root.join(self.path());
        let is_dir = fs::symlink_metadata(&path).is_ok_and(|meta| meta.is_dir());
        match self.next(9) {
            0 | 1 => drop(fs::create_dir_all(&path)),
            2 | 3 if !is_dir => drop(fs::write(&path, format!("{}", self.next(3)))),
            4 if is_dir => drop(fs::remove_dir_all(&path)),
            4 => drop(fs::remove_file(&path)),
            5 => drop(symlink(self.path(), &path)),
            6 => drop(fs::hard_link(root.join(self.path()), &path)),
            7 if !path.is_symlink() => {
                let mode = [0o755, 0o700, 0o4750, 0o1777][self.next(4)];
                let _ = rustix::fs::chmodat(CWD, &path, rustix::fs::Mode::from_raw_mode(mode), AtFlags::empty());
            }
            // Rename: moves whole directories, so that overlayfs has to copy or to mark them.
            _ => drop(fs::rename(&path, root.join(self.path()))),
        }
        if fs::symlink_metadata(&path).is_ok() {
            self.clock += 1;
            set_mtime(&path, self.clock, 0);
        }
    }
}

#[test]
fn unpacking_a_difference_makes_one_tree_the_other() {
    use std::hash::BuildHasher;
    // Another seed each time; a failure prints it.
    let seed = std::env::var("SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| RandomState::new().hash_one(0));
    for round in 0..60 {
        let mut chaos = Chaos::new(seed.wrapping_add(round));
        let scratch = Scratch::new();
        let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
        (0..40).for_each(|_| chaos.change(&lower));
        let mounts = overlay(Some(&upper), &[&lower]);
        let mounted = TempMount::new(&mounts).unwrap();
        (0..30).for_each(|_| chaos.change(mounted.path()));
        let expected = without_nanoseconds(describe(mounted.path(), false));
        drop(mounted);

        let (fast, _) = pack(&bind(&lower), &mounts);
        // Two lower directories, one of them empty, are not recognised: both trees are walked.
        let empty = scratch.dir("empty");
        let (slow, _) = pack(&overlay(None, &[&lower, &empty]), &mounts);
        assert!(fast == slow, "seed {seed}, round {round}: {:?} is not {:?}", entries(&fast), entries(&slow));

        let again = scratch.dir("again");
        unpack(&fast, &overlay(Some(&again), &[&lower])).unwrap();
        let shown = TempMount::new(&overlay(Some(&again), &[&lower])).unwrap();
        assert_eq!(without_nanoseconds(describe(shown.path(), false)), expected, "seed {seed}, round {round}, overlay");
        drop(shown);
        let before = describe(&lower, false);
        unpack(&fast, &bind(&lower)).unwrap();
        let after = without_nanoseconds(describe(&lower, false));
        assert_eq!(after, expected, "seed {seed}, round {round}, directory; it was {before:#?}");
    }
}
