//! Layers end to end, as root: real files, real overlays, other programs' archives.

mod apart;
mod attributes;
mod differences;
mod hostile;
mod programs;
mod whiteouts;

use super::{
    Applied, ApplyOptions, DiffOptions, TAR, Written, apply, diff, reconcile,
    tar::{Kind, Member, Writer, Xattr},
    xattr,
};
use model::{Error, Mount};
use rustix::fs::{AtFlags, CWD};
use std::{
    collections::BTreeMap,
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
};
use tempfile::TempDir;

/// An archive under construction.
struct Archive(Writer<Vec<u8>>);

impl Archive {
    fn new() -> Self {
        Self(Writer::new(Vec::new()))
    }

    fn add(mut self, member: Member<'_>, data: &[u8]) -> Self {
        self.0.member(&Member { size: data.len() as u64, ..member }).unwrap();
        self.0.data(data).unwrap();
        self
    }

    fn dir(self, path: &str) -> Self {
        self.add(Member { mode: 0o755, ..member(Kind::Directory, &format!("{path}/")) }, b"")
    }

    fn file(self, path: &str, data: &str) -> Self {
        self.add(member(Kind::File, path), data.as_bytes())
    }

    fn symlink(self, path: &str, link: &str) -> Self {
        self.add(Member { link: link.as_bytes(), ..member(Kind::Symlink, path) }, b"")
    }

    fn hardlink(self, path: &str, link: &str) -> Self {
        self.add(Member { link: link.as_bytes(), ..member(Kind::Hardlink, path) }, b"")
    }

    fn xattr(self, path: &str, name: &[u8], value: &[u8]) -> Self {
        let xattrs: [Xattr; 1] = [(name.to_vec(), value.to_vec())];
        self.add(Member { xattrs: &xattrs, ..member(Kind::File, path) }, b"data")
    }

    fn bytes(self) -> Vec<u8> {
        self.0.finish().unwrap()
    }
}

fn member(kind: Kind, path: &str) -> Member<'_> {
    Member {
        kind,
        path: path.as_bytes(),
        link: b"",
        mode: 0o644,
        uid: 0,
        gid: 0,
        mtime: 1_600_000_000,
        size: 0,
        device: (0, 0),
        xattrs: &[],
    }
}

fn bind(directory: &Path) -> Vec<Mount> {
    vec![Mount {
        fs_type: "bind".into(),
        source: directory.to_str().unwrap().into(),
        target: String::new(),
        options: vec!["rw".into(), "rbind".into()],
    }]
}

/// An overlay of `lowers` (topmost first); read-only without `upper`.
fn overlay(upper: Option<&Path>, lowers: &[&Path]) -> Vec<Mount> {
    let mut options = vec!["index=off".to_owned()];
    if let Some(upper) = upper {
        let work = upper.with_extension("work");
        fs::create_dir_all(&work).unwrap();
        options.push(format!("workdir={}", work.display()));
        options.push(format!("upperdir={}", upper.display()));
    }
    let lowers: Vec<_> = lowers.iter().map(|lower| lower.to_str().unwrap()).collect();
    options.push(format!("lowerdir={}", lowers.join(":")));
    vec![Mount { fs_type: "overlay".into(), source: "overlay".into(), target: String::new(), options }]
}

/// What stands for an overlay over layers that are not there yet, as clients name it.
fn overlay_apart(upper: &Path) -> Vec<Mount> {
    let options = vec!["rw".into(), format!("upperdir={}", upper.display())];
    vec![Mount { fs_type: "overlay".into(), source: "overlay".into(), target: String::new(), options }]
}

/// What `lowers` (topmost first) show.
fn layers_of(lowers: &[PathBuf]) -> Vec<Mount> {
    match lowers {
        [] => Vec::new(),
        [only] => bind(only),
        _ => overlay(None, &lowers.iter().map(PathBuf::as_path).collect::<Vec<_>>()),
    }
}

fn unpack(archive: &[u8], mounts: &[Mount]) -> Result<Applied, Error> {
    apply(archive, TAR, mounts, &ApplyOptions::default())
}

fn pack(lower: &[Mount], upper: &[Mount]) -> (Vec<u8>, Written) {
    let mut layer = Vec::new();
    let written = diff(lower, upper, TAR, &DiffOptions::default(), &mut layer).unwrap();
    (layer, written)
}

/// Directories of a test, all below one that goes with it.
struct Scratch(TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// A new directory.
    fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    }
}

/// Everything about the files below `root` that a layer has, by path. Directory times only with `times`.
fn describe(root: &Path, times: bool) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut names = BTreeMap::new();
    describe_into(root, root, times, &mut names, &mut found);
    found
}

fn describe_into(
    root: &Path,
    directory: &Path,
    times: bool,
    names: &mut BTreeMap<u64, String>,
    found: &mut BTreeMap<String, String>,
) {
    let mut entries: Vec<_> = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    for path in entries {
        let meta = fs::symlink_metadata(&path).unwrap();
        let name = path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        let mut text = format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid());
        if !meta.is_dir() || times {
            text += &format!(" {}.{:09}", meta.mtime(), meta.mtime_nsec());
        }
        if meta.is_file() {
            text += &format!(" {} bytes {:x}", meta.len(), checksum(&fs::read(&path).unwrap()));
        } else if meta.is_symlink() {
            text += &format!(" -> {}", fs::read_link(&path).unwrap().display());
        } else if meta.rdev() != 0 {
            text += &format!(" device {:x}", meta.rdev());
        }
        if !meta.is_dir() && meta.nlink() > 1 {
            let first = names.entry(meta.ino()).or_insert_with(|| name.clone());
            // An overlay may count names that are gone by now; the first says nothing of the others.
            if *first != name {
                text += &format!(" = {first}");
            }
        }
        let bytes = path.as_os_str().as_bytes();
        for key in xattr::list(|buffer| rustix::fs::llistxattr(bytes, buffer)).unwrap() {
            let value = xattr::get(|buffer| rustix::fs::lgetxattr(bytes, &key[..], buffer)).unwrap();
            text += &format!(" {}={value:?}", String::from_utf8_lossy(&key));
        }
        if meta.is_dir() {
            describe_into(root, &path, times, names, found);
        }
        found.insert(name, text);
    }
}

/// Times cut to seconds, which is what the layers we write keep of them.
fn without_nanoseconds(mut tree: BTreeMap<String, String>) -> BTreeMap<String, String> {
    for text in tree.values_mut() {
        let dot =
            text.match_indices('.').find(|(at, _)| text[at + 1..].starts_with(|next: char| next.is_ascii_digit()));
        if let Some((dot, _)) = dot {
            text.replace_range(dot..dot + 10, "");
        }
    }
    tree
}

fn checksum(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

fn set_mtime(path: &Path, seconds: i64, nanos: i64) {
    let time = rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanos };
    let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}
