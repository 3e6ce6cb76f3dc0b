//! Layers: whatever an archive says, nothing outside the directory it is unpacked into changes; and what it made can
//! be packed and unpacked again.

use crate::Target;
use model::Mount;
use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};
use store::layers::{ApplyOptions, DiffOptions, TAR, TAR_GZIP, apply, diff};
use tempfile::TempDir;

/// See the module.
pub const TARGET: Target = Target { name: "tar_apply", seeds: inputs, words: WORDS, run };

const WORDS: &[&str] = &[
    "../",
    "/",
    "/outside/",
    "..",
    ".wh.",
    ".wh..wh..opq",
    "\0",
    "ustar  \0",
    "ustar\x0000",
    "11 path=a/b\n",
    "0000000\0",
    "GNU.sparse.map=0,1,2,3\n",
    "SCHILY.xattr.user.k=v\n",
    "link",
    "dir",
    "mtime=1.5\n",
    "size=3\n",
];

/// Most bytes of files that are packed again; a sparse file may claim to be larger than any disk.
const MAX_PACKED: u64 = 1 << 20;

fn inputs() -> Vec<Vec<u8>> {
    let mut archives = vec![plain(), links(), whiteouts()];
    for extension in [
        &b"30 path=a/very/long/path/name\n"[..],
        b"20 linkpath=../../x\n19 mtime=1.123456789\n",
        b"29 SCHILY.xattr.user.k=value\n\n",
        b"22 GNU.sparse.major=1\n22 GNU.sparse.minor=0\n25 GNU.sparse.name=sparse\n26 GNU.sparse.realsize=20\n",
        b"27 GNU.sparse.map=0,1,10,2\n22 GNU.sparse.size=20\n",
    ] {
        let mut archive = tar::Builder::new(Vec::new());
        append(&mut archive, tar::EntryType::XHeader, "pax", "", extension);
        append(&mut archive, tar::EntryType::Regular, "file", "", b"2\n0\n1\n10\n2\nabc");
        archives.push(archive.into_inner().expect("write to memory"));
    }
    // The first byte says where to unpack.
    let at = |place: u8| archives.iter().map(move |archive| [&[place][..], archive].concat()).collect::<Vec<_>>();
    [at(0), at(1)].concat()
}

fn plain() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, tar::EntryType::Directory, "dir", "", b"");
    append(&mut archive, tar::EntryType::Regular, "dir/file", "", b"some data");
    append(&mut archive, tar::EntryType::Fifo, "dir/fifo", "", b"");
    append(&mut archive, tar::EntryType::Char, "dir/null", "", b"");
    append(&mut archive, tar::EntryType::GNULongName, "././@LongLink", "", &[b'n'; 200]);
    append(&mut archive, tar::EntryType::Regular, "short", "", b"");
    archive.into_inner().expect("write to memory")
}

fn links() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, tar::EntryType::Symlink, "up", "..", b"");
    append(&mut archive, tar::EntryType::Symlink, "out", "/outside", b"");
    append(&mut archive, tar::EntryType::Regular, "up/outside/file", "", b"data");
    append(&mut archive, tar::EntryType::Link, "alias", "out/canary", b"");
    append(&mut archive, tar::EntryType::Link, "alias", "../outside/canary", b"");
    append(&mut archive, tar::EntryType::Regular, "out", "", b"replaced");
    archive.into_inner().expect("write to memory")
}

fn whiteouts() -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    append(&mut archive, tar::EntryType::Regular, ".wh.old", "", b"");
    append(&mut archive, tar::EntryType::Regular, "kept/.wh..wh..opq", "", b"");
    append(&mut archive, tar::EntryType::Directory, "old", "", b"");
    append(&mut archive, tar::EntryType::Symlink, "up", "..", b"");
    append(&mut archive, tar::EntryType::Regular, "up/.wh.outside", "", b"");
    append(&mut archive, tar::EntryType::Regular, "up/outside/.wh.canary", "", b"");
    archive.into_inner().expect("write to memory")
}

fn append(archive: &mut tar::Builder<Vec<u8>>, kind: tar::EntryType, path: &str, link: &str, data: &[u8]) {
    let mut header = tar::Header::new_ustar();
    header.set_entry_type(kind);
    header.set_mode(0o755);
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(1_600_000_000);
    header.set_size(data.len() as u64);
    let bytes = header.as_old_mut();
    bytes.name[..path.len()].copy_from_slice(path.as_bytes());
    bytes.linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_cksum();
    archive.append(&header, data).expect("write to memory");
}

/// A directory to unpack into, and next to it what must not change.
struct Fence {
    scratch: TempDir,
    root: PathBuf,
}

impl Fence {
    fn new() -> Self {
        // In memory, if possible.
        let scratch = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).expect("a temporary directory");
        for directory in ["root", "outside", "lower/kept", "lower/old", "again"] {
            fs::create_dir_all(scratch.path().join(directory)).expect("make directory");
        }
        for file in ["outside/canary", "lower/kept/file", "lower/old/file"] {
            fs::write(scratch.path().join(file), "untouched").expect("write file");
        }
        let root = scratch.path().join("root");
        Self { scratch, root }
    }

    fn mounts(&self, place: u8) -> Vec<Mount> {
        let root = self.root.display();
        if place.is_multiple_of(2) {
            return bind(&self.root);
        }
        let options = vec![format!("upperdir={root}"), format!("lowerdir={}/lower", self.scratch.path().display())];
        vec![Mount { fs_type: "overlay".into(), options, ..Mount::default() }]
    }

    fn check(&self) {
        let mut names: Vec<_> =
            fs::read_dir(self.scratch.path()).expect("list").map(|entry| entry.expect("list").file_name()).collect();
        names.sort();
        assert_eq!(names, ["again", "lower", "outside", "root"]);
        for file in ["outside/canary", "lower/kept/file", "lower/old/file"] {
            let path = self.scratch.path().join(file);
            assert_eq!(fs::read_to_string(&path).expect("read what was there"), "untouched", "{file}");
            assert_eq!(fs::metadata(&path).expect("stat what was there").nlink(), 1, "{file} has another name");
        }
        let outside = fs::read_dir(self.scratch.path().join("outside")).expect("list").count();
        assert_eq!(outside, 1, "written outside the root");
    }
}

fn bind(directory: &Path) -> Vec<Mount> {
    vec![Mount { fs_type: "bind".into(), source: directory.display().to_string(), ..Mount::default() }]
}

fn run(data: &[u8]) {
    let Some((place, archive)) = data.split_first() else { return };
    let mut archive = archive.to_vec();
    repair(&mut archive);
    let fence = Fence::new();
    let applied = apply(&archive[..], TAR_GZIP, &fence.mounts(*place), &ApplyOptions::default());
    fence.check();
    if applied.is_err() || total(&fence.root) > MAX_PACKED {
        return;
    }
    let mut layer = Vec::new();
    let written =
        diff(&[], &bind(&fence.root), TAR, &DiffOptions::default(), &mut layer).expect("pack what was unpacked");
    let again = bind(&fence.scratch.path().join("again"));
    let applied = apply(&layer[..], TAR, &again, &ApplyOptions::default()).expect("unpack what was packed");
    assert_eq!(applied.diff_id, written.diff_id);
    fence.check();
}

/// Sum of the sizes of the files below `directory`.
fn total(directory: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(directory) else { return u64::MAX };
    let size =
        |entry: std::io::Result<fs::DirEntry>| match entry.and_then(|entry| Ok((entry.path(), entry.metadata()?))) {
            Ok((path, meta)) if meta.is_dir() => total(&path),
            Ok((_, meta)) => meta.len(),
            Err(_) => u64::MAX,
        };
    entries.map(size).fold(0, u64::saturating_add)
}

/// Makes the checksums right, without which next to no mutation would get past the first header.
fn repair(archive: &mut [u8]) {
    let mut at = 0;
    while let Some(block) = archive.get_mut(at..at + 512) {
        at += 512;
        if block.iter().all(|byte| *byte == 0) {
            continue;
        }
        block[148..156].fill(b' ');
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        let digits = std::str::from_utf8(&block[124..135]).unwrap_or_default();
        let has_data = matches!(block[156], 0 | b'0' | b'x' | b'g' | b'L' | b'K' | b'S');
        if let Some(size) = usize::from_str_radix(digits, 8).ok().filter(|_| has_data) {
            at = at.saturating_add(size.next_multiple_of(512));
        }
    }
}
