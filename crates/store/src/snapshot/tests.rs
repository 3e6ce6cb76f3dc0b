//! The suite on the local drivers, and what only they do.

use super::{conformance, overlay::Config, *};
use std::{fs, path::Path};

fn active(id: u64, labels: &Labels) -> Snapshot<'_> {
    Snapshot { kind: SnapshotKind::Active, id, parents: &[], key: "test/1/key", parent: "", labels }
}

fn names(root: &Path) -> Vec<String> {
    let entries = fs::read_dir(root.join("snapshots")).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn overlay_conforms() {
    let root = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(root.path(), Config::default()).unwrap();
    assert!(overlay.capabilities().contains(&Capability::Rebase));
    conformance::all(&overlay);
    assert!(names(root.path()).is_empty());
}

#[test]
fn native_conforms() {
    let root = tempfile::tempdir().unwrap();
    conformance::all(&Native::open(root.path()).unwrap());
    assert!(names(root.path()).is_empty());
}

#[test]
fn overlay_mounts_are_those_of_containerd() {
    let root = tempfile::tempdir().unwrap();
    let config = Config { upperdir_label: true, mount_options: vec!["volatile".into()], ..Config::default() };
    let overlay = Overlay::open(root.path(), config).unwrap();
    let dir = root.path().join("snapshots").display().to_string();
    let labels = Labels::new();
    let mounts = |kind, parents: &[u64]| {
        let mounts = overlay.mounts(&Snapshot { kind, parents, ..active(9, &labels) }).unwrap();
        let [mount] = &mounts[..] else { panic!("{mounts:?}") };
        (mount.fs_type.clone(), mount.source.clone(), mount.options.join(","))
    };
    let bind = |id: u64, options: &str| (String::from("bind"), format!("{dir}/{id}/fs"), String::from(options));
    assert_eq!(mounts(SnapshotKind::Active, &[]), bind(9, "rw,rbind"));
    assert_eq!(mounts(SnapshotKind::View, &[]), bind(9, "ro,rbind"));
    assert_eq!(mounts(SnapshotKind::View, &[3]), bind(3, "ro,rbind"));
    let index = if Path::new("/sys/module/overlay/parameters/index").exists() { ",index=off" } else { "" };
    let (fs_type, source, options) = mounts(SnapshotKind::Active, &[3, 1]);
    assert_eq!((fs_type.as_str(), source.as_str()), ("overlay", "overlay"));
    let expected = format!("workdir={dir}/9/work,upperdir={dir}/9/fs,lowerdir={dir}/3/fs:{dir}/1/fs,volatile{index}");
    assert_eq!(options, expected);
    let options = mounts(SnapshotKind::View, &[3, 1]).2;
    assert_eq!(options, format!("lowerdir={dir}/3/fs:{dir}/1/fs,volatile{index}"));
    let shown = overlay.labels(&active(9, &labels)).unwrap();
    assert_eq!(shown["containerd.io/snapshot/overlay.upperdir"], format!("{dir}/9/fs"));
    assert_eq!(overlay.exports()["root"], root.path().display().to_string());
}

#[test]
fn what_a_crash_leaves_is_removed_or_replaced() {
    let root = tempfile::tempdir().unwrap();
    let labels = Labels::new();
    let open = || Overlay::open(root.path(), Config::default()).unwrap();
    open().prepare(&active(1, &labels)).unwrap();
    for leftover in ["new-2-77-0/fs", "rm-3-77-0/fs", "4/fs", "not-ours"] {
        fs::create_dir_all(root.path().join("snapshots").join(leftover)).unwrap();
    }
    fs::write(root.path().join("snapshots/4/fs/stale"), "").unwrap();
    let overlay = open();
    assert!(!names(root.path()).iter().any(|name| name.starts_with("new-")));
    overlay.prepare(&active(4, &labels)).unwrap();
    assert!(!root.path().join("snapshots/4/fs/stale").exists());
    let live = || Ok(Live { ids: [4].into(), keys: HashSet::new() });
    overlay.cleanup(&live).unwrap();
    assert_eq!(names(root.path()), ["4", "not-ours"]);
}

#[test]
fn a_cleanup_spares_what_takes_the_place_of_an_orphan() {
    let root = tempfile::tempdir().unwrap();
    let overlay = Overlay::open(root.path(), Config::default()).unwrap();
    fs::create_dir_all(root.path().join("snapshots/7/fs")).unwrap();
    let labels = Labels::new();
    // Listed as an orphan, and drawn again before the answer is in.
    let live = || overlay.prepare(&active(7, &labels)).map(|_| Live::default());
    overlay.cleanup(&live).unwrap();
    assert_eq!(names(root.path()), ["7"]);
    overlay.cleanup(&|| Ok(Live::default())).unwrap();
    assert!(names(root.path()).is_empty());
}

#[test]
fn a_failed_prepare_leaves_nothing() {
    let root = tempfile::tempdir().unwrap();
    let native = Native::open(root.path()).unwrap();
    let labels = Labels::new();
    let orphan = Snapshot { parents: &[42], ..active(1, &labels) };
    assert!(native.prepare(&orphan).unwrap_err().is_not_found());
    assert!(Overlay::open(root.path(), Config::default()).unwrap().prepare(&orphan).unwrap_err().is_not_found());
    assert!(names(root.path()).is_empty());
}

#[test]
fn native_cannot_rebase_and_says_so() {
    let root = tempfile::tempdir().unwrap();
    let native = Native::open(root.path()).unwrap();
    let labels = Labels::new();
    native.prepare(&active(1, &labels)).unwrap();
    let commit = Commit { key: "test/2/name", rebase: Some("test/3/parent"), labels: &labels };
    let error = native.commit(&active(1, &labels), &commit).unwrap_err();
    assert_eq!(error.kind(), model::Kind::Unimplemented);
}

#[test]
fn removal_waits_for_cleanup_unless_told_otherwise() {
    let root = tempfile::tempdir().unwrap();
    let labels = Labels::new();
    for (sync_remove, left) in [(false, 1), (true, 0)] {
        let overlay = Overlay::open(root.path(), Config { sync_remove, ..Config::default() }).unwrap();
        overlay.prepare(&active(1, &labels)).unwrap();
        overlay.remove(&active(1, &labels)).unwrap();
        assert_eq!(names(root.path()).len(), left);
    }
}
