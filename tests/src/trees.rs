//! Images whose layers say less than their trees have, and trees to compare.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use tar::{Builder, EntryType, Header};

/// Adds a file, or a directory if the path ends with a slash.
fn add(tar: &mut Builder<Vec<u8>>, path: &str, mode: u32, owner: u64, content: &str) {
    let mut header = Header::new_ustar();
    header.set_entry_type(if path.ends_with('/') { EntryType::Directory } else { EntryType::Regular });
    header.set_mode(mode);
    header.set_uid(owner);
    header.set_gid(owner + u64::from(owner > 0));
    header.set_mtime(1_700_000_000);
    header.set_size(content.len() as u64);
    tar.append_data(&mut header, path, content.as_bytes()).expect("write a tar in memory");
}

fn layer(files: &[&str]) -> Vec<u8> {
    let mut tar = Builder::new(Vec::new());
    files.iter().for_each(|path| add(&mut tar, path, 0o644, 0, ""));
    tar.into_inner().expect("write a tar in memory")
}

/// Layers that have files in directories of the layers below without an entry for them, that delete what was never
/// there, and the last of which, if `opaque`, hides all the others. `seed` tells the lowest from that of other images.
#[must_use]
pub fn sparse_layers(seed: &str, opaque: bool) -> Vec<Vec<u8>> {
    let mut base = Builder::new(Vec::new());
    add(&mut base, "seed", 0o644, 0, seed);
    add(&mut base, "tmp/", 0o1777, 0, "");
    base.append_pax_extensions([("SCHILY.xattr.user.key", &b"value"[..])]).expect("write a tar in memory");
    add(&mut base, "srv/", 0o750, 33, "");
    add(&mut base, "srv/www/", 0o2711, 34, "");
    add(&mut base, "opt/", 0o700, 35, "");
    add(&mut base, "opt/old", 0o644, 0, "old");
    let base = base.into_inner().expect("write a tar in memory");
    let middle = layer(&["tmp/x", "srv/www/index", "new/.wh.nothing", "srv/.wh.nothing", ".wh.opt"]);
    let mut top = vec!["opt/new", "tmp/deep/y", "srv/www/.wh.index", "srv/www/.wh.gone"];
    if opaque {
        top.insert(0, ".wh..wh..opq");
    }
    vec![base, middle, layer(&top)]
}

/// What is below `root`, by path: mode, owner, content and attributes. No times, which copies of directories change.
#[must_use]
pub fn describe(root: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    describe_into(root, root, &mut found);
    found
}

fn describe_into(root: &Path, directory: &Path, found: &mut BTreeMap<String, String>) {
    for entry in fs::read_dir(directory).expect("read a directory") {
        let path = entry.expect("read a directory").path();
        let stat = fs::symlink_metadata(&path).expect("stat");
        let mut text = format!("{:o} {}:{}", stat.mode(), stat.uid(), stat.gid());
        if stat.is_file() {
            text += &format!(" {:?}", String::from_utf8_lossy(&fs::read(&path).expect("read a file")));
        }
        let mut names = vec![0; 64 << 10];
        let len = rustix::fs::llistxattr(path.as_os_str().as_bytes(), &mut names).expect("list attributes");
        for name in names[..len].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
            text += &format!(" {}", String::from_utf8_lossy(name));
        }
        if stat.is_dir() {
            describe_into(root, &path, found);
        }
        found.insert(path.strip_prefix(root).expect("a path below the root").display().to_string(), text);
    }
}

/// Checks that `tree` is what [`sparse_layers`] mean.
pub fn check_sparse(tree: &BTreeMap<String, String>, opaque: bool) {
    let looks = |path: &str| tree.get(path).map_or("", String::as_str);
    let names: Vec<&str> = tree.keys().map(String::as_str).collect();
    if opaque {
        assert_eq!(names, ["opt", "opt/new", "srv", "srv/www", "tmp", "tmp/deep", "tmp/deep/y"]);
        assert!(["opt", "srv", "srv/www", "tmp"].iter().all(|path| looks(path) == "40755 0:0"), "{tree:?}");
        return;
    }
    let expected =
        ["new", "opt", "opt/new", "seed", "srv", "srv/www", "tmp", "tmp/deep", "tmp/deep/y", "tmp/x"].as_slice();
    assert_eq!(names, expected);
    assert_eq!((looks("tmp"), looks("tmp/deep"), looks("opt")), ("41777 0:0", "40755 0:0", "40755 0:0"));
    assert_eq!((looks("srv"), looks("srv/www")), ("40750 33:34 user.key", "42711 34:35"));
}
