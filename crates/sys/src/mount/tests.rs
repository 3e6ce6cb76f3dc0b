//! Real mounts, so these need root; each on a directory of its own, taken down in the end.

use super::*;
use std::{fs, os::unix::fs::MetadataExt as _};

/// A directory below which nothing stays mounted.
struct Scratch(tempfile::TempDir);

impl Scratch {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn dir(&self, name: &str) -> PathBuf {
        let path = self.0.path().join(name);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn mounted(&self) -> usize {
        let info = fs::read_to_string("/proc/self/mountinfo").unwrap();
        info.lines().filter(|line| line.contains(self.0.path().to_str().unwrap())).count()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        unmount_below(self.0.path(), Unmount::Detach).unwrap();
    }
}

fn mount(fs_type: &str, source: &Path, options: &[&str]) -> Mount {
    Mount {
        fs_type: fs_type.into(),
        source: source.to_str().unwrap().into(),
        target: String::new(),
        options: options.iter().map(ToString::to_string).collect(),
    }
}

/// An overlay of `count` layers, each with a file of its number; the first has its directories below `scratch`.
fn overlay(scratch: &Scratch, count: usize, extra: &[&str]) -> Mount {
    let layers: Vec<String> = (0..count)
        .map(|number| {
            let dir = scratch.dir(&format!("snapshots/{number}/fs"));
            fs::write(dir.join(format!("file{number}")), number.to_string()).unwrap();
            dir.to_str().unwrap().to_owned()
        })
        .collect();
    let (upper, work) = (scratch.dir("snapshots/new/fs"), scratch.dir("snapshots/new/work"));
    let options = [
        format!("workdir={}", work.display()),
        format!("upperdir={}", upper.display()),
        format!("lowerdir={}", layers.join(":")),
    ];
    let options: Vec<&str> = options.iter().map(String::as_str).chain(extra.iter().copied()).collect();
    mount("overlay", Path::new("overlay"), &options)
}

#[test]
fn binds_are_writable_or_not() {
    let scratch = Scratch::new();
    let (source, rw, ro) = (scratch.dir("source"), scratch.dir("rw"), scratch.dir("ro"));
    mount_all(&[mount("bind", &source, &["rw", "rbind"])], &rw).unwrap();
    mount_all(&[mount("bind", &source, &["ro", "rbind"])], &ro).unwrap();
    fs::write(rw.join("file"), "x").unwrap();
    assert_eq!(fs::read_to_string(ro.join("file")).unwrap(), "x");
    assert_eq!(fs::write(ro.join("file"), "y").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    mount_all(&[mount("bind", &source, &["remount", "bind", "ro"])], &rw).unwrap();
    assert_eq!(fs::write(rw.join("file"), "y").unwrap_err().kind(), io::ErrorKind::ReadOnlyFilesystem);
    unmount_all(&rw, Unmount::WhenIdle).unwrap();
    assert_eq!(scratch.mounted(), 1);
}

#[test]
fn an_overlay_of_more_layers_than_a_page_holds() {
    let scratch = Scratch::new();
    let overlay = overlay(&scratch, 300, &["index=off"]);
    assert!(overlay.options.concat().len() > 2 * PAGE);
    let before = std::env::current_dir().unwrap();
    let merged = scratch.dir("merged");
    mount_all(&[overlay], &merged).unwrap();
    assert_eq!(fs::read_to_string(merged.join("file0")).unwrap(), "0");
    assert_eq!(fs::read_to_string(merged.join("file299")).unwrap(), "299");
    fs::write(merged.join("new"), "x").unwrap();
    assert!(scratch.0.path().join("snapshots/new/fs/new").exists());
    assert_eq!(std::env::current_dir().unwrap(), before);
}

#[test]
fn an_overlay_with_shifted_owners() {
    let scratch = Scratch::new();
    for layers in [1, 3, 200] {
        let overlay = overlay(&scratch, layers, &["index=off", "uidmap=0:100000:65536", "gidmap=0:200000:65536"]);
        let merged = scratch.dir("merged");
        mount_all(&[overlay], &merged).unwrap();
        let file = fs::metadata(merged.join("file0")).unwrap();
        assert_eq!((file.uid(), file.gid()), (100_000, 200_000));
        let on_disk = fs::metadata(scratch.0.path().join("snapshots/0/fs/file0")).unwrap();
        assert_eq!((on_disk.uid(), on_disk.gid()), (0, 0));
        assert_eq!(scratch.mounted(), 1, "the shifted lower layers are not left mounted");
        unmount_all(&merged, Unmount::WhenIdle).unwrap();
    }
}

#[test]
fn a_bind_with_shifted_owners() {
    let scratch = Scratch::new();
    let (source, target) = (scratch.dir("source"), scratch.dir("target"));
    fs::write(source.join("file"), "x").unwrap();
    let options = ["rw", "rbind", "uidmap=0:100000:65536", "gidmap=0:100000:65536"];
    mount_all(&[mount("bind", &source, &options)], &target).unwrap();
    assert_eq!(fs::metadata(target.join("file")).unwrap().uid(), 100_000);
    unmount_all(&target, Unmount::WhenIdle).unwrap();
    assert_eq!(scratch.mounted(), 0);
}

#[test]
fn a_target_below_stays_inside() {
    let scratch = Scratch::new();
    let (root, source, outside) = (scratch.dir("root"), scratch.dir("source"), scratch.dir("outside"));
    fs::write(source.join("file"), "x").unwrap();
    fs::create_dir(root.join("inside")).unwrap();
    std::os::unix::fs::symlink(&outside, root.join("out")).unwrap();
    std::os::unix::fs::symlink("/inside", root.join("in")).unwrap();
    let at = |target: &str| Mount { target: target.into(), ..mount("bind", &source, &["rbind"]) };
    assert!(mount_all(&[at("out")], &root).unwrap_err().is_not_found());
    let mounts = [at("in")];
    mount_all(&mounts, &root).unwrap();
    assert!(root.join("inside/file").exists());
    unmount_mounts(&mounts, &root, Unmount::WhenIdle).unwrap();
    assert_eq!(scratch.mounted(), 0);
}

#[test]
fn what_was_made_before_a_failure_is_taken_down() {
    let scratch = Scratch::new();
    let (source, target) = (scratch.dir("source"), scratch.dir("target"));
    let mounts = [mount("bind", &source, &["rbind"]), mount("bind", &source.join("absent"), &["rbind"])];
    let error = mount_all(&mounts, &target).unwrap_err();
    assert!(error.is_not_found() && error.to_string().contains("absent"), "{error}");
    assert_eq!(scratch.mounted(), 0);
}

#[test]
fn temporary_mounts_are_attached_nowhere() {
    let scratch = Scratch::new();
    let overlay = overlay(&scratch, 2, &["index=off", "volatile"]);
    let temp = TempMount::new(std::slice::from_ref(&overlay)).unwrap();
    assert_eq!(scratch.mounted(), 0);
    assert_eq!(fs::read_to_string(temp.path().join("file1")).unwrap(), "1");
    let root = Root::open(temp.path()).unwrap();
    root.entry("sub").unwrap().mkdir(0o755).unwrap();
    root.entry("file0").unwrap().remove().unwrap();
    drop((root, temp));
    assert!(scratch.0.path().join("snapshots/new/fs/sub").is_dir());
    let view = TempMount::new(&read_only(&[overlay])).unwrap();
    assert!(view.path().join("sub").is_dir() && !view.path().join("file0").exists());
    assert!(fs::create_dir(view.path().join("more")).is_err());
}
