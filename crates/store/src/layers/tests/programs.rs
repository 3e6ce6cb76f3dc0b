//! Archives of GNU tar, and ours read by GNU tar. umoci reads ours too, where it is installed.

use super::*;
use std::{os::unix::fs::symlink, process::Command};

fn run(command: &mut Command) -> String {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{command:?}: {text}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A tree with what archives can hold.
fn populate(root: &Path) {
    let long = root.join("d".repeat(120)).join("e".repeat(120));
    fs::create_dir_all(&long).unwrap();
    fs::write(long.join("n".repeat(150)), "deep").unwrap();
    fs::write(root.join("ünïcode"), "text").unwrap();
    symlink("t".repeat(250), root.join("link")).unwrap();
    fs::hard_link(root.join("ünïcode"), root.join("alias")).unwrap();
    // Data, a hole, data, a hole at the end.
    let sparse = fs::File::create(root.join("sparse")).unwrap();
    for offset in [0u64, 1 << 20, 5 << 20, (5 << 20) + (64 << 10)] {
        std::os::unix::fs::FileExt::write_all_at(&sparse, &[b'#'; 4096], offset).unwrap();
    }
    sparse.set_len(9 << 20).unwrap();
    let many = fs::File::create(root.join("fragmented")).unwrap();
    for index in 0..200 {
        std::os::unix::fs::FileExt::write_all_at(&many, &[index as u8; 4096], index * 16384).unwrap();
    }
    let path = root.join("ünïcode");
    rustix::fs::setxattr(&path, "user.colour", b"green", rustix::fs::XattrFlags::empty()).unwrap();
    rustix::fs::chownat(
        CWD,
        &path,
        Some(rustix::fs::Uid::from_raw(3_000_000)),
        Some(rustix::fs::Gid::from_raw(7)),
        AtFlags::empty(),
    )
    .unwrap();
    run(Command::new("mkfifo").arg(root.join("fifo")));
    run(Command::new("mknod").arg(root.join("device")).args(["b", "8", "300"]));
    fs::write(root.join("big-time"), "").unwrap();
    set_mtime(&root.join("ünïcode"), 1_234_567_890, 123_456_789);
    set_mtime(&root.join("big-time"), 9_000_000_000, 0);
    set_mtime(&root.join("sparse"), 1_234_567_890, 0);
}

#[test]
fn gnu_tar_archives_unpack_as_gnu_tar_unpacks_them() {
    let scratch = Scratch::new();
    let source = scratch.dir("source");
    populate(&source);
    for (index, (format, extra)) in [
        ("pax", vec!["--xattrs", "--sparse"]),
        ("pax", vec!["--xattrs", "--sparse", "--sparse-version=0.0"]),
        ("pax", vec!["--xattrs", "--sparse", "--sparse-version=0.1"]),
        ("pax", vec!["--xattrs"]),
        ("gnu", vec!["--sparse"]),
        ("gnu", vec![]),
    ]
    .into_iter()
    .enumerate()
    {
        let archive = scratch.0.path().join(format!("{index}.tar"));
        let mut tar = Command::new("tar");
        run(tar
            .arg(format!("--format={format}"))
            .args(&extra)
            .arg("-C")
            .arg(&source)
            .arg("-cf")
            .arg(&archive)
            .arg("."));
        let target = scratch.dir(&format!("target{index}"));
        unpack(&fs::read(&archive).unwrap(), &bind(&target)).unwrap();
        let (mut expected, mut found) = (describe(&source, true), describe(&target, true));
        if format == "gnu" {
            expected.values_mut().for_each(|text| *text = text.replace(" user.colour=[103, 114, 101, 101, 110]", ""));
            (expected, found) = (without_nanoseconds(expected), without_nanoseconds(found));
        }
        assert_eq!(found, expected, "{format} {extra:?}");
        if extra.contains(&"--sparse") {
            for name in ["sparse", "fragmented"] {
                let meta = fs::metadata(target.join(name)).unwrap();
                assert!(meta.blocks() * 512 < meta.len() / 2, "{format} {extra:?}: holes of {name}");
            }
        }
        fs::remove_dir_all(target).unwrap();
    }
}

#[test]
fn gnu_tar_reads_what_we_write() {
    let scratch = Scratch::new();
    let (source, target) = (scratch.dir("source"), scratch.dir("target"));
    populate(&source);
    let layer = scratch.0.path().join("layer.tar.gz");
    let out = fs::File::create(&layer).unwrap();
    diff(&[], &bind(&source), "", &DiffOptions::default(), out).unwrap();
    run(Command::new("tar")
        .args(["--xattrs", "--xattrs-include=*", "--numeric-owner", "-xpf"])
        .arg(&layer)
        .arg("-C")
        .arg(&target));
    let (found, expected) = (describe(&target, false), describe(&source, false));
    assert_eq!(without_nanoseconds(found), without_nanoseconds(expected));
    run(Command::new("gzip").arg("-t").arg(&layer));
}

#[test]
fn umoci_unpacks_what_we_write() {
    if Command::new("umoci").arg("--version").output().is_err() {
        return;
    }
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    let base =
        Archive::new().dir("etc").file("etc/passwd", "root").dir("opt").file("opt/x", "").file("top", "").bytes();
    unpack(&base, &bind(&lower)).unwrap();
    let top = Archive::new()
        .file("etc/.wh.passwd", "")
        .file("opt/.wh..wh..opq", "")
        .file("opt/y", "")
        .file("top", "2")
        .bytes();
    unpack(&top, &overlay(Some(&upper), &[&lower])).unwrap();

    let image = format!("{}:x", scratch.0.path().join("image").display());
    run(Command::new("umoci").args(["init", "--layout"]).arg(scratch.0.path().join("image")));
    run(Command::new("umoci").args(["new", "--image", &image]));
    for (index, (below, above)) in
        [(vec![], bind(&lower)), (bind(&lower), overlay(Some(&upper), &[&lower]))].into_iter().enumerate()
    {
        let layer = scratch.0.path().join(format!("{index}.tar"));
        diff(&below, &above, TAR, &DiffOptions::default(), fs::File::create(&layer).unwrap()).unwrap();
        run(Command::new("umoci").args(["raw", "add-layer", "--image", &image]).arg(&layer));
    }
    let bundle = scratch.0.path().join("bundle");
    run(Command::new("umoci").args(["unpack", "--image", &image]).arg(&bundle));
    let mounted = sys::mount::TempMount::new(&overlay(Some(&upper), &[&lower])).unwrap();
    let (mut found, expected) = (describe(&bundle.join("rootfs"), false), describe(mounted.path(), false));
    // What umoci keeps for itself.
    found.retain(|_, text| !text.contains("user.umoci"));
    assert_eq!(found, expected);
}
