//! What is written to a snapshot is what is seen above it.

use super::{Bench, with};
use model::{Labels, SnapshotKind};
use rustix::fs::{self as raw, AtFlags, CWD, FileType, Mode, Timespec, Timestamps};
use std::{
    ffi::OsStr,
    fs::{self, File, Permissions},
    io::ErrorKind,
    os::unix::{
        ffi::OsStrExt as _,
        fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _, lchown, symlink},
    },
    path::Path,
};

const TIME: Timespec = Timespec { tv_sec: 1_000_000_000, tv_nsec: 123_456_789 };

fn set_time(path: &Path) {
    let times = Timestamps { last_access: TIME, last_modification: TIME };
    raw::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

fn write_samples(root: &Path) {
    fs::write(root.join("plain"), "plain").unwrap();
    fs::hard_link(root.join("plain"), root.join("link")).unwrap();
    fs::create_dir_all(root.join("deep/er")).unwrap();
    fs::hard_link(root.join("plain"), root.join("deep/er/link")).unwrap();
    symlink("/absolute/nowhere", root.join("symlink")).unwrap();
    lchown(root.join("symlink"), Some(7), Some(8)).unwrap();
    fs::write(root.join(OsStr::from_bytes(b"not\xffutf8 \n")), "").unwrap();
    raw::mknodat(CWD, root.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o640), 0).unwrap();
    let null = raw::makedev(1, 3);
    raw::mknodat(CWD, root.join("null"), FileType::CharacterDevice, Mode::from_raw_mode(0o666), null).unwrap();
    let suid = root.join("suid");
    fs::write(&suid, "suid").unwrap();
    lchown(&suid, Some(1000), Some(2000)).unwrap();
    fs::set_permissions(&suid, Permissions::from_mode(0o6755)).unwrap();
    raw::setxattr(&suid, "trusted.conformance", b"value\0", raw::XattrFlags::empty()).unwrap();
    let sparse = File::create(root.join("sparse")).unwrap();
    sparse.set_len(64 << 20).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&sparse, b"island", 32 << 20).unwrap();
    fs::set_permissions(root.join("deep"), Permissions::from_mode(0o1711)).unwrap();
    for name in ["plain", "symlink", "fifo", "suid", "deep/er", "deep"] {
        set_time(&root.join(name));
    }
}

fn check_samples(root: &Path) {
    let stat = |name: &str| fs::symlink_metadata(root.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(fs::read(root.join("plain")).unwrap(), b"plain");
    let inodes = ["plain", "link", "deep/er/link"].map(|name| (stat(name).ino(), stat(name).nlink()));
    assert_eq!(inodes, [(stat("plain").ino(), 3); 3], "hard links stay one file");
    assert_eq!(fs::read_link(root.join("symlink")).unwrap(), Path::new("/absolute/nowhere"));
    assert_eq!((stat("symlink").uid(), stat("symlink").gid()), (7, 8));
    assert!(root.join(OsStr::from_bytes(b"not\xffutf8 \n")).exists());
    assert!(stat("fifo").file_type().is_fifo() && stat("fifo").mode() & 0o7777 == 0o640);
    assert!(stat("null").file_type().is_char_device() && stat("null").rdev() == raw::makedev(1, 3));
    let suid = stat("suid");
    assert_eq!((suid.uid(), suid.gid(), suid.mode() & 0o7777), (1000, 2000, 0o6755));
    let mut value = [0; 16];
    let len = raw::getxattr(root.join("suid"), "trusted.conformance", &mut value).unwrap();
    assert_eq!(&value[..len], b"value\0");
    assert_eq!(stat("sparse").len(), 64 << 20);
    assert!(stat("sparse").blocks() * 512 < 1 << 20, "a hole stays a hole");
    assert_eq!(fs::read(root.join("sparse")).unwrap()[32 << 20..][..6], *b"island");
    assert_eq!(stat("deep").mode() & 0o7777, 0o1711);
    for name in ["plain", "symlink", "fifo", "suid", "deep/er", "deep"] {
        assert_eq!((stat(name).mtime(), stat(name).mtime_nsec()), (TIME.tv_sec, TIME.tv_nsec), "time of {name}");
    }
}

pub(super) fn survive_commit_and_view(bench: &Bench<'_>) {
    bench.layer("base", "", write_samples);
    bench.look("base", check_samples);
    // Again below something else: shown through another kind of mount, or copied.
    bench.layer("child", "base", |root| fs::write(root.join("more"), "").unwrap());
    bench.look("child", check_samples);
    let mounts = bench.prepare("grandchild", "child");
    with(&mounts, check_samples);
}

pub(super) fn views_are_read_only(bench: &Bench<'_>) {
    let refused = |root: &Path| {
        let error = fs::write(root.join("file"), "").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ReadOnlyFilesystem);
    };
    with(&bench.create(SnapshotKind::View, "empty", "", Labels::new()).unwrap(), refused);
    bench.layer("one", "", |root| fs::write(root.join("file"), "one").unwrap());
    bench.look("one", refused);
    bench.layer("two", "one", |root| fs::write(root.join("two"), "").unwrap());
    bench.look("two", refused);
    bench.look("one", |root| assert_eq!(fs::read(root.join("file")).unwrap(), b"one"));
}

pub(super) fn deletions_hide_what_is_below(bench: &Bench<'_>) {
    bench.layer("base", "", |root| {
        fs::create_dir_all(root.join("dir/sub")).unwrap();
        fs::write(root.join("dir/file"), "").unwrap();
        fs::write(root.join("file"), "").unwrap();
        fs::create_dir(root.join("becomes-file")).unwrap();
        fs::write(root.join("becomes-dir"), "").unwrap();
    });
    bench.layer("child", "base", |root| {
        fs::remove_file(root.join("file")).unwrap();
        // Deleted and made again: what was in it must not come back.
        fs::remove_dir_all(root.join("dir")).unwrap();
        fs::create_dir(root.join("dir")).unwrap();
        fs::write(root.join("dir/new"), "").unwrap();
        fs::remove_dir(root.join("becomes-file")).unwrap();
        fs::write(root.join("becomes-file"), "").unwrap();
        fs::remove_file(root.join("becomes-dir")).unwrap();
        fs::create_dir(root.join("becomes-dir")).unwrap();
    });
    bench.look("child", |root| {
        assert!(!root.join("file").exists());
        let names: Vec<_> = fs::read_dir(root.join("dir")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(names, ["new"]);
        assert!(root.join("becomes-file").is_file() && root.join("becomes-dir").is_dir());
    });
    bench.look("base", |root| assert!(root.join("file").exists() && root.join("dir/sub").exists()));
}

pub(super) fn changes_leave_the_parent_alone(bench: &Bench<'_>) {
    let owner_and_mode = |root: &Path| {
        let stat = fs::metadata(root.join("file")).unwrap();
        (stat.uid(), stat.gid(), stat.mode() & 0o7777, fs::read_to_string(root.join("file")).unwrap())
    };
    bench.layer("base", "", |root| {
        fs::write(root.join("file"), "old").unwrap();
        fs::set_permissions(root.join("file"), Permissions::from_mode(0o600)).unwrap();
    });
    bench.layer("attributes", "base", |root| {
        lchown(root.join("file"), Some(1), Some(2)).unwrap();
        fs::set_permissions(root.join("file"), Permissions::from_mode(0o444)).unwrap();
    });
    bench.layer("contents", "attributes", |root| fs::write(root.join("file"), "new").unwrap());
    bench.look("base", |root| assert_eq!(owner_and_mode(root), (0, 0, 0o600, "old".into())));
    bench.look("attributes", |root| assert_eq!(owner_and_mode(root), (1, 2, 0o444, "old".into())));
    bench.look("contents", |root| assert_eq!(owner_and_mode(root), (1, 2, 0o444, "new".into())));
}
