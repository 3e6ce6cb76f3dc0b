//! What strangers may put into an archive, and where it ends up.

use super::*;
use std::{io::ErrorKind, io::Write as _, os::unix::fs::symlink};

/// `<dir>/root` is the root; `<dir>/outside` must stay empty.
struct Scratch {
    dir: tempfile::TempDir,
    root: Root,
}

impl Scratch {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("root")).unwrap();
        std::fs::create_dir(dir.path().join("outside")).unwrap();
        let root = Root::open(&dir.path().join("root")).unwrap();
        Self { dir, root }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join("root").join(name)
    }

    fn write(&self, path: &str) -> Result<()> {
        self.root.entry(path)?.create(0o644)?.write_all(b"x")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let outside = std::fs::read_dir(self.dir.path().join("outside")).unwrap().count();
        if !std::thread::panicking() {
            assert_eq!(outside, 0, "something was written outside the root");
        }
    }
}

#[test]
fn dots_and_slashes_mean_the_root() {
    let scratch = Scratch::new();
    scratch.write("../../outside/file").unwrap_err();
    scratch.write("/../file").unwrap();
    scratch.write("a/../b").unwrap();
    assert!(scratch.path("file").exists() && scratch.path("b").exists());
    for name in ["", "/", ".", "..", "./../"] {
        let entry = scratch.root.entry(name).unwrap();
        assert_eq!(entry.name(), ".", "{name}");
        assert_eq!(entry.mkdir(0o755).unwrap_err().kind(), ErrorKind::AlreadyExists);
    }
}

#[test]
fn links_lead_nowhere_but_inside() {
    let scratch = Scratch::new();
    symlink(scratch.dir.path().join("outside"), scratch.path("absolute")).unwrap();
    symlink("../../../outside", scratch.path("relative")).unwrap();
    symlink("/proc/self/root", scratch.path("magic")).unwrap();
    for path in ["absolute/file", "relative/file", "magic/file"] {
        assert_eq!(scratch.write(path).unwrap_err().kind(), ErrorKind::NotFound, "{path}");
    }
    scratch.root.create_dir_all("outside", 0o755).unwrap();
    scratch.write("relative/file").unwrap();
    assert!(scratch.path("outside/file").exists());
}

#[test]
fn the_last_component_is_never_followed() {
    let scratch = Scratch::new();
    let outside = scratch.dir.path().join("outside/file");
    symlink(&outside, scratch.path("link")).unwrap();
    let link = scratch.root.entry("link").unwrap();
    assert_eq!(link.create(0o644).unwrap_err().kind(), ErrorKind::AlreadyExists);
    assert!(link.open().is_err());
    assert_eq!(link.chmod(0o777).unwrap_err().kind(), ErrorKind::Unsupported);
    link.chown(1, 2).unwrap();
    let time = Timespec { tv_sec: 1, tv_nsec: 5 };
    link.set_times(time, time).unwrap();
    let stat = link.stat().unwrap();
    assert_eq!((stat.st_uid, stat.st_gid, stat.st_mtime, stat.st_mtime_nsec), (1, 2, 1, 5));
    link.set_xattr(OsStr::new("trusted.test"), b"value").unwrap();
    assert_eq!(link.xattr(OsStr::new("trusted.test")).unwrap().unwrap(), b"value");
    assert!(link.xattrs().unwrap().contains(&OsString::from("trusted.test")));
    assert_eq!(link.read_link().unwrap(), outside);
    let hard = scratch.root.entry("hard").unwrap();
    hard.link(&link).unwrap();
    assert_eq!(hard.read_link().unwrap(), outside);
    link.remove_all().unwrap();
    assert!(link.stat().is_err());
}

#[test]
fn a_directory_that_becomes_a_link_is_not_remembered() {
    let scratch = Scratch::new();
    scratch.root.create_dir_all("a/b", 0o755).unwrap();
    scratch.write("a/b/one").unwrap();
    scratch.root.entry("a").unwrap().remove_all().unwrap();
    scratch.root.create_dir_all("other/b", 0o755).unwrap();
    scratch.root.entry("a").unwrap().symlink("other").unwrap();
    scratch.write("a/b/two").unwrap();
    assert!(scratch.path("other/b/two").exists());
    scratch.root.entry("a").unwrap().remove().unwrap();
    assert_eq!(scratch.write("a/b/three").unwrap_err().kind(), ErrorKind::NotFound);
    scratch.root.entry("other").unwrap().rename(&scratch.root.entry("a").unwrap()).unwrap();
    scratch.write("a/b/four").unwrap();
    assert!(scratch.path("a/b/four").exists());
}

#[test]
fn missing_directories_are_made_through_links_too() {
    let scratch = Scratch::new();
    scratch.root.entry("run").unwrap().mkdir(0o700).unwrap();
    scratch.root.entry("var").unwrap().symlink("/not/yet").unwrap();
    let made = scratch.root.create_dir_all("var/lib/x", 0o711).unwrap();
    assert_eq!(made, ["not", "not/yet", "var/lib", "var/lib/x"].map(PathBuf::from));
    assert!(scratch.path("not/yet/lib/x").is_dir());
    assert_eq!(scratch.root.entry("not/yet/lib").unwrap().stat().unwrap().st_mode & 0o7777, 0o711);
    assert!(scratch.root.create_dir_all("var/lib/x", 0o755).unwrap().is_empty());
    symlink("loop", scratch.path("loop")).unwrap();
    assert!(scratch.root.create_dir_all("loop/x", 0o755).is_err());
    scratch.write("file").unwrap();
    assert_eq!(scratch.root.create_dir_all("file/x", 0o755).unwrap_err().kind(), ErrorKind::NotADirectory);
}

#[test]
fn modes_owners_and_kinds() {
    let scratch = Scratch::new();
    let fifo = scratch.root.entry("fifo").unwrap();
    fifo.mknod(FileType::Fifo, 0o600, 0).unwrap();
    let whiteout = scratch.root.entry("whiteout").unwrap();
    whiteout.mknod(FileType::CharacterDevice, 0, 0).unwrap();
    assert_eq!(FileType::from_raw_mode(whiteout.stat().unwrap().st_mode), FileType::CharacterDevice);
    // Opening a fifo nobody writes to does not block.
    drop(fifo.open().unwrap());
    fifo.chmod(0o4755).unwrap();
    assert_eq!(fifo.stat().unwrap().st_mode & 0o7777, 0o4755);
    assert!(scratch.root.entry("nul\0byte").unwrap().create(0o644).is_err());
    assert!(scratch.root.entry("x".repeat(256)).unwrap().create(0o644).is_err());
}

#[test]
fn a_tree_deeper_than_any_path_is_walked_and_removed() {
    let scratch = Scratch::new();
    let bottom = scratch.root.entry("bomb").unwrap();
    bottom.mkdir(0o755).unwrap();
    let mut dir = File::open(scratch.path("bomb")).unwrap();
    for _ in 0..3000 {
        fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
        dir = fs::openat(&dir, "d", OFlags::RDONLY, Mode::empty()).unwrap().into();
        drop(fs::openat(&dir, "f", OFlags::CREATE | OFlags::WRONLY, Mode::RUSR).unwrap());
    }
    drop(dir);
    let mut descent = Descent::begin(&scratch.root, "bomb").unwrap();
    while descent.list().unwrap().iter().any(|(name, _)| name.as_c_str() == c"d") {
        descent.enter(c"d".into()).unwrap();
    }
    assert_eq!(descent.depth(), 3000);
    for _ in 0..3000 {
        assert_eq!(descent.leave().unwrap().unwrap().as_c_str(), c"d");
    }
    assert!(descent.leave().unwrap().is_none());
    bottom.remove_all().unwrap();
    assert!(!scratch.path("bomb").exists());
}

#[test]
fn a_walk_does_not_come_out_elsewhere() {
    let scratch = Scratch::new();
    scratch.root.create_dir_all("a/b/c", 0o755).unwrap();
    let mut descent = Descent::begin(&scratch.root, "a").unwrap();
    descent.enter(c"b".into()).unwrap();
    descent.enter(c"c".into()).unwrap();
    std::fs::rename(scratch.path("a/b/c"), scratch.path("c")).unwrap();
    assert!(descent.leave().is_err());
    symlink("a", scratch.path("link")).unwrap();
    assert!(Descent::begin(&scratch.root, "link").is_err());
}
