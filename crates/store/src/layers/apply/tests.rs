//! What is kept about the names of a layer, and for how long.

use super::{target::Target, tree::Tree, unpack};
use crate::layers::{
    media_type::Compression,
    pipeline,
    tar::{Kind, Member, Writer},
};
use model::Result;
use std::{fs, os::unix::fs::MetadataExt as _};
use tempfile::TempDir;

fn archive(entries: &[(Kind, &str, i64)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (kind, path, mtime) in entries {
        let member = Member {
            kind: *kind,
            path: path.as_bytes(),
            link: b"",
            mode: 0o755,
            uid: 0,
            gid: 0,
            mtime: *mtime,
            size: 0,
            device: (0, 0),
            xattrs: &[],
        };
        writer.member(&member).unwrap();
    }
    writer.finish().unwrap()
}

fn tree(root: &TempDir) -> Tree<'static> {
    Tree::open(&Target::directory(root.path()), None).unwrap()
}

fn add(tree: &mut Tree<'_>, entries: &[(Kind, &str, i64)]) -> Result<()> {
    pipeline::run(&mut &archive(entries)[..], Compression::None, None, |input| unpack(tree, input)).map(drop)
}

#[test]
fn a_directory_is_kept_once_however_often_it_comes() {
    let root = tempfile::tempdir().unwrap();
    let mut tree = tree(&root);
    let long = format!("{}/", "directory/".repeat(300));
    add(&mut tree, &[(Kind::Directory, &long, 1)]).unwrap();
    let kept = tree.kept();
    for time in 2..200 {
        add(&mut tree, &[(Kind::Directory, &long, time)]).unwrap();
    }
    assert_eq!(tree.kept(), kept);
    add(&mut tree, &[(Kind::File, &format!("{long}file"), 7)]).unwrap();
    tree.finish().unwrap();
    assert_eq!(fs::metadata(root.path().join(long)).unwrap().mtime(), 199);
}

#[test]
fn what_is_gone_is_forgotten() {
    let root = tempfile::tempdir().unwrap();
    let mut tree = tree(&root);
    add(&mut tree, &[(Kind::Directory, "stays/", 5)]).unwrap();
    let kept = tree.kept();
    for round in 0..20 {
        let (deep, file) = (format!("a/b/c{round}/"), format!("a/b/c{round}/file{round}"));
        let there = [(Kind::Directory, "a/", 1), (Kind::Directory, deep.as_str(), 1), (Kind::File, file.as_str(), 1)];
        add(&mut tree, &there).unwrap();
        // A file in place of the directory, and nothing in place of the file.
        add(&mut tree, &[(Kind::File, "a", 1)]).unwrap();
    }
    let name = tree.kept() - kept;
    assert!(name < 100, "{name} bytes are kept for one name");
    // The last one in a place is the one whose times count, whatever was there.
    add(&mut tree, &[(Kind::Directory, "a/", 6), (Kind::Directory, "a/b/", 7), (Kind::File, "a/b/file", 8)]).unwrap();
    tree.finish().unwrap();
    let mtime = |path: &str| fs::metadata(root.path().join(path)).unwrap().mtime();
    assert_eq!((mtime("stays"), mtime("a"), mtime("a/b"), mtime("a/b/file")), (5, 6, 7, 8));
}

#[test]
fn what_is_kept_is_bounded() {
    let root = tempfile::tempdir().unwrap();
    let mut tree = tree(&root);
    tree.max_kept = 1000;
    let names: Vec<String> = (0..100).map(|index| format!("f{index}")).collect();
    let files: Vec<_> = names.iter().map(|name| (Kind::File, name.as_str(), 1)).collect();
    let error = add(&mut tree, &files).unwrap_err();
    assert_eq!(error.kind(), model::Kind::ResourceExhausted);
    assert!(error.to_string().contains("\"f62\"") && error.to_string().contains("63 names"), "{error}");
}
