//! Archives that mean harm or are broken: nothing leaves the root, every refusal names what it is about.

use super::*;
use crate::layers::{TAR_GZIP, TAR_ZSTD};
use model::Kind as Code;
use std::io::{Read, Write};
use sys::mount::TempMount;

/// A root with something outside that must not change.
struct Fenced {
    scratch: Scratch,
    root: PathBuf,
}

impl Fenced {
    fn new() -> Self {
        let scratch = Scratch::new();
        let root = scratch.dir("root");
        fs::write(scratch.0.path().join("secret"), "untouched").unwrap();
        fs::create_dir(scratch.0.path().join("outside")).unwrap();
        Self { scratch, root }
    }

    fn unpack(&self, archive: Archive) -> Result<Applied, Error> {
        let result = unpack(&archive.bytes(), &bind(&self.root));
        let above = describe(self.scratch.0.path(), false);
        let outside: Vec<_> = above.keys().filter(|name| !name.starts_with("root/")).collect();
        assert_eq!(outside, ["outside", "root", "secret"], "written outside the root");
        assert!(above["secret"].contains("100644") && !above["secret"].contains(" = "), "secret was linked or changed");
        assert_eq!(fs::read_to_string(self.scratch.0.path().join("secret")).unwrap(), "untouched");
        result
    }

    fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap()
    }
}

#[test]
fn dots_and_slashes_stay_inside() {
    let fenced = Fenced::new();
    let outside = fenced.scratch.0.path().join("outside/file");
    fenced
        .unpack(
            Archive::new()
                .file("../../../a", "a")
                .file("/b", "b")
                .file("x/../../c", "c")
                .file(outside.to_str().unwrap(), "d")
                .dir("..")
                .dir("./")
                .file("e/..", ""),
        )
        .unwrap();
    assert_eq!((fenced.read("a"), fenced.read("b"), fenced.read("c")), ("a".into(), "b".into(), "c".into()));
    assert_eq!(fs::read_to_string(fenced.root.join(outside.strip_prefix("/").unwrap())).unwrap(), "d");
}

#[test]
fn links_lead_nowhere_but_inside() {
    let fenced = Fenced::new();
    let parent = fenced.scratch.0.path().to_str().unwrap().to_owned();
    fenced
        .unpack(
            Archive::new()
                .symlink("up", "..")
                .file("up/one", "1")
                .symlink("absolute", &parent)
                .file("absolute/outside/two", "2")
                .symlink("chain", "up/up/absolute")
                .file("chain/three", "3")
                .symlink("far", "../../../../../../../../etc")
                .file("far/four", "4")
                .file("up", "replaced, not followed")
                .symlink("dangling", "made/for/it")
                .file("dangling/five", "5"),
        )
        .unwrap();
    let below = |path: &str| format!("{}/{path}", parent.trim_start_matches('/'));
    assert_eq!((fenced.read("one"), fenced.read("etc/four")), ("1".into(), "4".into()));
    assert_eq!((fenced.read(&below("outside/two")), fenced.read(&below("three"))), ("2".into(), "3".into()));
    assert_eq!((fenced.read("up"), fenced.read("made/for/it/five")), ("replaced, not followed".into(), "5".into()));
}

#[test]
fn a_link_to_a_file_is_replaced_not_written_through() {
    let fenced = Fenced::new();
    let secret = fenced.scratch.0.path().join("secret");
    fenced
        .unpack(
            Archive::new()
                .symlink("link", secret.to_str().unwrap())
                .file("link", "overwritten?")
                .symlink("relative", "../secret")
                .file("relative", "overwritten?"),
        )
        .unwrap();
    assert_eq!(fenced.read("link"), "overwritten?");
}

#[test]
fn hard_links_reach_only_inside() {
    let fenced = Fenced::new();
    let secret = fenced.scratch.0.path().join("secret");
    let secret = secret.to_str().unwrap();
    for (archive, kind) in [
        (Archive::new().hardlink("stolen", secret), Code::NotFound),
        (Archive::new().hardlink("stolen", "../secret"), Code::NotFound),
        (Archive::new().symlink("up", "..").hardlink("stolen", "up/secret"), Code::NotFound),
        (Archive::new().hardlink("self", "self"), Code::NotFound),
        (Archive::new().dir("d").hardlink("to-dir", "d"), Code::PermissionDenied),
        (Archive::new().hardlink("to-root", "/"), Code::Unknown),
    ] {
        let error = fenced.unpack(archive).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains("hard link to"), "{error}");
    }
    // To a link inside that points outside: it is the link itself that gets a second name.
    let archive = Archive::new().symlink("link", secret).hardlink("alias", "link").file("alias", "x");
    fenced.unpack(archive).unwrap();
    assert_eq!(fs::read_link(fenced.root.join("link")).unwrap(), Path::new(secret));
}

#[test]
fn whiteouts_delete_nothing_outside() {
    let fenced = Fenced::new();
    let parent = fenced.scratch.0.path().to_str().unwrap().to_owned();
    fenced
        .unpack(
            Archive::new()
                .file("../.wh.secret", "")
                .symlink("up", "..")
                .file("up/.wh.secret", "")
                .symlink("absolute", &parent)
                .file("absolute/.wh.secret", "")
                .file("absolute/.wh..wh..opq", ""),
        )
        .unwrap();
    for name in [".wh.", ".wh..", ".wh...", "sub/.wh..."] {
        let error = fenced.unpack(Archive::new().file(name, "")).unwrap_err();
        assert!(error.to_string().contains("invalid whiteout name"), "{error}");
    }
}

#[test]
fn loops_of_links_are_refused() {
    let fenced = Fenced::new();
    let error = fenced.unpack(Archive::new().symlink("a", "b").symlink("b", "a").file("a/file", "")).unwrap_err();
    assert!(error.to_string().contains("\"a/file\""), "{error}");
    let error = fenced.unpack(Archive::new().symlink("c", "c/x").file("c/file", "")).unwrap_err();
    assert!(error.to_string().contains("\"c/file\""), "{error}");
    // A file where a directory is needed.
    let error = fenced.unpack(Archive::new().file("f", "").file("f/file", "")).unwrap_err();
    assert!(error.to_string().contains("\"f/file\""), "{error}");
}

#[test]
fn names_need_not_be_text_but_must_fit() {
    let fenced = Fenced::new();
    let odd = [b"bad\xff\xfe\n name", &b"\x80"[..]].concat();
    let mut archive = Writer::new(Vec::new());
    archive.member(&Member { path: &odd, ..member(Kind::File, "") }).unwrap();
    unpack(&archive.finish().unwrap(), &bind(&fenced.root)).unwrap();
    let name = fs::read_dir(&fenced.root).unwrap().next().unwrap().unwrap().file_name();
    assert_eq!(name.as_bytes(), odd);

    for path in ["n".repeat(256), format!("{}end", "deep/".repeat(1000))] {
        let error = fenced.unpack(Archive::new().file(&path, "")).unwrap_err();
        assert!(error.to_string().len() < 1000 && error.to_string().contains("too long"), "{error}");
    }
    fenced.unpack(Archive::new().file(&"n".repeat(255), "")).unwrap();
}

#[test]
fn numbers_out_of_range_are_refused() {
    let fenced = Fenced::new();
    // Base 256: the first byte marks it.
    let patched = |range: std::ops::Range<usize>, bytes: &[u8], kind| {
        let mut archive = Archive::new().add(member(kind, "x"), b"").bytes();
        archive[range].copy_from_slice(bytes);
        archive[148..156].fill(b' ');
        let sum: u32 = archive[..512].iter().map(|byte| u32::from(*byte)).sum();
        archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        unpack(&archive, &bind(&fenced.root))
    };
    let huge = [0x80, 0, 0, 2, 0, 0, 0, 0];
    for (range, kind) in
        [(108..116, Kind::File), (116..124, Kind::File), (329..337, Kind::CharDevice), (337..345, Kind::BlockDevice)]
    {
        let error = patched(range, &huge, kind).unwrap_err();
        assert!(error.to_string().contains("out of range"), "{error}");
    }
    assert!(patched(124..136, &[0xff; 12], Kind::File).unwrap_err().to_string().contains("negative size"));
    assert!(patched(156..157, b"7", Kind::File).unwrap_err().to_string().contains("unhandled tar header type 55"));
    assert!(patched(156..157, b"M", Kind::File).unwrap_err().to_string().contains("\"x\""));
}

#[test]
fn streams_that_end_early_are_errors() {
    let fenced = Fenced::new();
    let long = "long/".repeat(30) + "name";
    let whole = Archive::new().dir("d").file(&long, &"data".repeat(300)).file("last", "data").bytes();
    let mut complete = 0;
    for cut in (0..whole.len()).step_by(128) {
        match unpack(&whole[..cut], &bind(&fenced.root)) {
            // Between entries an archive may end, as for Go; so may the padding after the last file be missing.
            Ok(_) => complete += 1,
            Err(error) => assert!(error.to_string().contains("unexpected end of layer"), "{cut}: {error}"),
        }
    }
    assert!(complete < 12, "{complete}");
    for media_type in [TAR_GZIP, TAR_ZSTD] {
        let mut packed = Vec::new();
        let lower = fenced.scratch.dir(if media_type == TAR_GZIP { "gz" } else { "zst" });
        diff(&bind(&lower), &bind(&fenced.root), media_type, &DiffOptions::default(), &mut packed).unwrap();
        for cut in [packed.len() - 1, packed.len() / 2] {
            let error = apply(&packed[..cut], media_type, &bind(&lower), &ApplyOptions::default()).unwrap_err();
            assert!(error.to_string().contains("zip: ") || error.to_string().contains("zstd: "), "{error}");
        }
        fs::remove_dir_all(lower).unwrap();
    }
}

#[test]
fn wrong_digests_and_diff_ids_are_refused() {
    let fenced = Fenced::new();
    let archive = Archive::new().file("file", "data").bytes();
    let applied = unpack(&archive, &bind(&fenced.root)).unwrap();
    let packed = zstd::encode_all(&archive[..], 1).unwrap();
    let digest = |bytes: &[u8]| {
        let mut hasher = crate::content::Hasher::new(model::Algorithm::Sha512);
        hasher.update(bytes);
        hasher.digest().unwrap()
    };
    let check = |expected, expected_diff_id, media_type, bytes: &[u8]| {
        let options = ApplyOptions { expected, expected_diff_id, ..ApplyOptions::default() };
        apply(bytes, media_type, &bind(&fenced.root), &options)
    };
    let (diff_id, other) = (applied.diff_id.clone(), digest(b"other"));
    let right = Some((digest(&packed), packed.len() as u64));
    assert_eq!(check(right.clone(), Some(diff_id.clone()), TAR_ZSTD, &packed).unwrap(), applied);
    let same = Some((diff_id.clone(), archive.len() as u64));
    assert_eq!(check(same.clone(), Some(diff_id), TAR, &archive).unwrap(), applied);
    assert_eq!(check(same, None, TAR_GZIP, &archive).unwrap(), applied, "not compressed, whatever the type says");

    for result in [
        check(Some((other.clone(), packed.len() as u64)), None, TAR_ZSTD, &packed),
        check(right.map(|(digest, size)| (digest, size + 1)), None, TAR_ZSTD, &packed),
        check(Some((other.clone(), archive.len() as u64)), None, TAR, &archive),
        check(None, Some(other.clone()), TAR_ZSTD, &packed),
    ] {
        assert_eq!(result.unwrap_err().kind(), Code::FailedPrecondition);
    }
}

#[test]
fn a_bomb_is_bounded_by_the_disk_alone() {
    let small = Mount {
        fs_type: "tmpfs".into(),
        source: "tmpfs".into(),
        target: String::new(),
        options: vec!["size=1m".into()],
    };
    let mounted = TempMount::new(&[small]).unwrap();
    // The header of a file of 10 GB, and zeros for as long as anyone asks.
    let mut header = Archive::new().add(Member { size: 0, ..member(Kind::File, "bomb") }, b"").bytes();
    header.truncate(512);
    header[124..136].copy_from_slice(b"112402762000");
    header[148..156].fill(b' ');
    let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&header).unwrap();
    std::io::copy(&mut std::io::repeat(0).take(64 << 20), &mut gzip).unwrap();
    let bomb = gzip.finish().unwrap();
    let root = mounted.path().to_path_buf();
    let error = apply(&bomb[..], TAR_GZIP, &bind(&root), &ApplyOptions::default()).unwrap_err();
    assert_eq!(error.kind(), Code::Unknown, "{error}");
    let text = error.to_string();
    assert!(text.contains("\"bomb\"") && text.contains("no space left on device"), "{text}");
}

#[test]
fn extensions_are_bounded() {
    let fenced = Fenced::new();
    for flag in [b'x', b'g', b'L', b'K'] {
        let mut archive = Archive::new().add(member(Kind::File, "x"), b"").bytes();
        archive[156] = flag;
        // 2^30 bytes.
        archive[124..136].copy_from_slice(b"10000000000\0");
        archive[148..156].fill(b' ');
        let sum: u32 = archive[..512].iter().map(|byte| u32::from(*byte)).sum();
        archive[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let error = unpack(&archive, &bind(&fenced.root)).unwrap_err();
        assert!(error.to_string().contains("extended header of 1073741824 bytes"), "{error}");
    }
}

#[test]
fn trees_of_any_depth_are_removed_but_not_written() {
    let fenced = Fenced::new();
    // Each entry goes 400 directories deeper, through a link to where the last one ended.
    let hop = "d/".repeat(400);
    let mut archive = Archive::new().dir(&format!("{hop}d"));
    for index in 0..5 {
        let to = if index == 0 { hop.clone() } else { format!("l{}/{hop}", index - 1) };
        archive = archive.symlink(&format!("l{index}"), &to).dir(&format!("l{index}/{hop}d"));
    }
    unpack(&archive.bytes(), &bind(&fenced.root)).unwrap();
    let error = diff(&[], &bind(&fenced.root), TAR, &DiffOptions::default(), std::io::sink()).unwrap_err();
    assert_eq!(error.kind(), Code::FailedPrecondition, "{error}");
    unpack(&Archive::new().file(".wh.d", "").bytes(), &bind(&fenced.root)).unwrap();
    assert!(!fenced.root.join("d").exists());
}
