//! What every kind of entry becomes.

use super::*;
use crate::layers::{IdMap, IdRange};
use std::os::unix::fs::FileTypeExt;

#[test]
fn every_kind_of_file() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let special = |kind, path, device| Member { device, mode: 0o620, gid: 5, ..member(kind, path) };
    let archive = Archive::new()
        .add(Member { mode: 0o1777, ..member(Kind::Directory, "tmp/") }, b"")
        .add(Member { mode: 0o2750, uid: 3, gid: 4, ..member(Kind::Directory, "tmp/shared/") }, b"")
        .add(Member { mode: 0o4755, ..member(Kind::File, "su") }, b"#!")
        .add(Member { mode: 0o6711, uid: 1000, gid: 1001, ..member(Kind::File, "tmp/shared/both") }, b"x")
        .file("tmp/shared/group", "")
        .symlink("tmp/shared/link", "no/such/../target")
        .hardlink("tmp/alias", "su")
        .add(special(Kind::CharDevice, "null", (1, 3)), b"")
        .add(special(Kind::BlockDevice, "disk", (259, 70_000)), b"")
        .add(special(Kind::Fifo, "pipe", (0, 0)), b"")
        .bytes();
    let applied = unpack(&archive, &bind(&root)).unwrap();
    assert_eq!(applied.size, archive.len() as u64);

    let meta = |path: &str| fs::symlink_metadata(root.join(path)).unwrap();
    let owner = |path: &str| (meta(path).mode() & 0o7777, meta(path).uid(), meta(path).gid());
    assert_eq!(owner("tmp"), (0o1777, 0, 0));
    assert_eq!(owner("tmp/shared"), (0o2750, 3, 4));
    assert_eq!(owner("tmp/shared/both"), (0o6711, 1000, 1001));
    // The directory's set-gid bit gives new files its group, which is not what the layer says.
    assert_eq!(owner("tmp/shared/group"), (0o644, 0, 0));
    assert_eq!(owner("tmp/shared/link"), (0o777, 0, 0));
    assert_eq!(owner("null"), (0o620, 0, 5));
    assert_eq!(fs::read_link(root.join("tmp/shared/link")).unwrap(), Path::new("no/such/../target"));
    assert!(meta("null").file_type().is_char_device() && meta("disk").file_type().is_block_device());
    assert_eq!(meta("disk").rdev(), rustix::fs::makedev(259, 70_000));
    assert!(meta("pipe").file_type().is_fifo());
    // As in Go containerd, the entry of a hard link sets mode and owner, too.
    assert_eq!((meta("su").ino(), meta("su").mode() & 0o7777), (meta("tmp/alias").ino(), 0o644));
    for path in ["tmp", "tmp/shared", "su", "null", "pipe", "tmp/shared/link"] {
        assert_eq!(meta(path).mtime(), 1_600_000_000, "{path}");
    }
}

/// Their blocks are reserved, at most 16 MiB at a time, where the file system is ext4.
#[test]
fn large_files_have_their_size_and_every_byte() {
    let scratch = Scratch::new();
    for size in [1 << 20, (16 << 20) - 1, (32 << 20) + 12_345] {
        let root = scratch.dir(&format!("{size}"));
        let data: Vec<u8> = (0..size).map(|at: u32| at.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
        let archive = Archive::new().add(member(Kind::File, "large"), &data).file("next", "small").bytes();
        unpack(&archive, &bind(&root)).unwrap();
        assert!(fs::read(root.join("large")).unwrap() == data, "{size}");
        assert_eq!(fs::read(root.join("next")).unwrap(), b"small");
        let cut = unpack(&archive[..data.len() / 2], &bind(&scratch.dir(&format!("cut-{size}")))).unwrap_err();
        assert!(cut.to_string().contains("unexpected end of layer"), "{cut}");
    }
}

#[test]
fn owners_and_modes_do_not_depend_on_the_umask() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let archive = Archive::new()
        .add(Member { mode: 0o777, ..member(Kind::Directory, "all/") }, b"")
        .add(Member { mode: 0o666, ..member(Kind::File, "all/file") }, b"")
        .file("made/for/it", "")
        .bytes();
    unpack(&archive, &bind(&root)).unwrap();
    let mode = |path: &str| fs::metadata(root.join(path)).unwrap().mode() & 0o7777;
    assert_eq!((mode("all"), mode("all/file"), mode("made"), mode("made/for")), (0o777, 0o666, 0o755, 0o755));
}

#[test]
fn extended_attributes_and_what_is_left_out() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    // Version 2 capabilities, cap_net_raw permitted and effective.
    let capability = [1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    // Version 2: owner rw, user 1000 r, group r, mask r, others none.
    let acl = [
        2, 0, 0, 0, 1, 0, 6, 0, 255, 255, 255, 255, 2, 0, 4, 0, 0xe8, 3, 0, 0, 4, 0, 4, 0, 255, 255, 255, 255, 0x10, 0,
        4, 0, 255, 255, 255, 255, 0x20, 0, 0, 0, 255, 255, 255, 255,
    ];
    let archive = Archive::new()
        .xattr("ping", b"security.capability", &capability)
        .add(
            Member {
                mode: 0o640,
                xattrs: &[(b"system.posix_acl_access".to_vec(), acl.to_vec())],
                ..member(Kind::File, "acl")
            },
            b"",
        )
        .xattr("user", b"user.key", b"with \0 and \n")
        .xattr("labelled", b"security.selinux", b"system_u:object_r:bin_t:s0\0")
        .xattr("trusted", b"trusted.overlay.opaque", b"y")
        .add(Member { xattrs: &[(b"user.key".to_vec(), b"v".to_vec())], ..member(Kind::Fifo, "fifo") }, b"")
        .bytes();
    unpack(&archive, &bind(&root)).unwrap();
    let get = |path: &str, name: &str| {
        let path = root.join(path);
        xattr::get(|buffer| rustix::fs::lgetxattr(&path, name, buffer)).ok()
    };
    assert_eq!(get("ping", "security.capability").unwrap(), capability);
    assert_eq!(get("acl", "system.posix_acl_access").unwrap(), acl);
    assert_eq!(get("user", "user.key").unwrap(), b"with \0 and \n");
    assert_eq!(get("labelled", "security.selinux").unwrap(), b"system_u:object_r:bin_t:s0\0");
    assert_eq!(get("trusted", "trusted.overlay.opaque"), None);
    assert_eq!(get("fifo", "user.key"), None);
}

#[test]
fn parents_take_after_those_below() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    let base = Archive::new()
        .add(Member { mode: 0o1777, uid: 7, gid: 8, mtime: 1_500_000_000, ..member(Kind::Directory, "var/") }, b"")
        .add(Member { mode: 0o700, uid: 9, gid: 9, mtime: 1_500_000_000, ..member(Kind::Directory, "var/lib/") }, b"");
    unpack(&base.bytes(), &bind(&lower)).unwrap();
    let top = Archive::new().file("var/lib/new/file", "").bytes();
    unpack(&top, &overlay(Some(&upper), &[&lower])).unwrap();
    let apart = scratch.dir("apart");
    unpack(&top, &overlay_apart(&apart)).unwrap();
    assert!(reconcile(&apart, &bind(&lower), false).unwrap());
    for upper in [upper, apart] {
        let found = describe(&upper, true);
        assert_eq!(found["var"], "41777 7:8 1500000000.000000000");
        assert_eq!(found["var/lib"], "40700 9:9 1500000000.000000000");
        assert!(found["var/lib/new"].starts_with("40755 0:0"));
    }
}

#[test]
fn later_entries_replace_earlier_ones() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    fs::create_dir_all(root.join("there/deep")).unwrap();
    fs::write(root.join("there/deep/file"), "old").unwrap();
    let archive = Archive::new()
        .file("twice", "first, and longer")
        .file("twice", "second")
        .dir("kind")
        .file("kind/inside", "")
        .file("kind", "a file now")
        .symlink("link", "elsewhere")
        .dir("link")
        .file("link/inside", "in a real directory")
        .file("file", "")
        .dir("file")
        .add(Member { mode: 0o700, ..member(Kind::Directory, "there/") }, b"")
        .bytes();
    unpack(&archive, &bind(&root)).unwrap();
    let read = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert_eq!((read("twice"), read("kind")), ("second".into(), "a file now".into()));
    assert_eq!(read("link/inside"), "in a real directory");
    assert!(root.join("file").is_dir() && !root.join("elsewhere").exists());
    // Directories merge.
    assert_eq!(read("there/deep/file"), "old");
    assert_eq!(fs::metadata(root.join("there")).unwrap().mode() & 0o777, 0o700);
    assert_eq!(fs::metadata(root.join("there")).unwrap().mtime(), 1_600_000_000);
}

#[test]
fn owners_are_mapped() {
    let scratch = Scratch::new();
    let root = scratch.dir("root");
    let range = |container, host, size| IdRange { container, host, size };
    let map = IdMap { users: vec![range(0, 100_000, 1000), range(1000, 500, 1)], groups: vec![range(0, 200_000, 10)] };
    let options = ApplyOptions { id_map: Some(map), ..ApplyOptions::default() };
    let archive = |uid| Archive::new().add(Member { uid, gid: 5, ..member(Kind::File, "file") }, b"").bytes();
    for (uid, expected) in [(0, 100_000), (999, 100_999), (1000, 500)] {
        apply(&archive(uid)[..], TAR, &bind(&root), &options).unwrap();
        let meta = fs::metadata(root.join("file")).unwrap();
        assert_eq!((meta.uid(), meta.gid()), (expected, 200_005));
    }
    let error = apply(&archive(1001)[..], TAR, &bind(&root), &options).unwrap_err();
    assert_eq!(error.kind(), model::Kind::FailedPrecondition);
    assert!(error.to_string().contains("\"file\": uid 1001"), "{error}");
}

#[test]
fn mounts_that_are_neither_are_mounted() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    fs::write(lower.join("gone"), "").unwrap();
    let mut mounts = overlay(Some(&upper), &[&lower]);
    // Two mounts: the second a bind of a directory of the first, which only mounting can show.
    fs::create_dir(lower.join("sub")).unwrap();
    let other = scratch.dir("other");
    mounts.push(Mount { target: "sub".into(), ..bind(&other)[0].clone() });
    let archive = Archive::new().file(".wh.gone", "").file("sub/file", "through the bind").bytes();
    unpack(&archive, &mounts).unwrap();
    assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "through the bind");
    assert!(fs::symlink_metadata(upper.join("gone")).unwrap().file_type().is_char_device());
    assert_eq!(unpack(&archive, &[]).unwrap_err().kind(), model::Kind::InvalidArgument);
}
