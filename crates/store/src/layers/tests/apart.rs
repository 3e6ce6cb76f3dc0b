//! Layers unpacked before those below them, and then put on top.

use super::*;
use sys::mount::TempMount;

const DAY: i64 = 86_400;

fn directory(path: &str, mode: u32, owner: u32) -> Member<'_> {
    Member { mode, uid: owner, gid: owner + 1, mtime: DAY, ..member(Kind::Directory, path) }
}

/// Layers in directories of their own.
struct Stack {
    /// The topmost first.
    layers: Vec<PathBuf>,
    _scratch: Scratch,
}

impl Stack {
    /// Each by itself.
    fn unpacked(archives: impl IntoIterator<Item = Archive>) -> Self {
        let scratch = Scratch::new();
        let mut layers = Vec::new();
        for (index, archive) in archives.into_iter().enumerate() {
            let upper = scratch.dir(&index.to_string());
            let mounts = if index == 0 { bind(&upper) } else { overlay_apart(&upper) };
            unpack(&archive.bytes(), &mounts).unwrap();
            layers.insert(0, upper);
        }
        Self { layers, _scratch: scratch }
    }

    /// And then on top of each other.
    fn reconciled(archives: impl IntoIterator<Item = Archive>) -> Self {
        let stack = Self::unpacked(archives);
        for index in (0..stack.layers.len()).rev() {
            reconcile(&stack.layers[index], &layers_of(&stack.layers[index + 1..]), false).unwrap();
        }
        stack
    }

    /// What is in the topmost layer itself, without its times.
    fn top(&self) -> BTreeMap<String, String> {
        describe(&self.layers[0], false)
    }

    fn shown(&self) -> BTreeMap<String, String> {
        describe(TempMount::new(&layers_of(&self.layers)).unwrap().path(), true)
    }
}

fn base() -> Archive {
    let xattrs: [Xattr; 1] = [(b"user.key".to_vec(), b"value".to_vec())];
    Archive::new()
        .add(Member { xattrs: &xattrs, ..directory("etc/", 0o750, 3) }, b"")
        .file("etc/passwd", "root")
        .add(directory("etc/ssl/", 0o700, 5), b"")
        .file("etc/ssl/cert", "pem")
        .add(directory("tmp/", 0o1777, 0), b"")
        .file("file", "one")
}

#[test]
fn directories_without_an_entry_look_as_below() {
    let middle = Archive::new().file("tmp/x", "").file("etc/ssl/key", "");
    let top = Archive::new().file("etc/ssl/new/key", "");
    let shown = Stack::reconciled([base(), middle, top]).shown();
    assert_eq!(shown["tmp"], "41777 0:1 86400.000000000");
    assert_eq!(shown["etc"], "40750 3:4 86400.000000000 user.key=[118, 97, 108, 117, 101]");
    assert_eq!(shown["etc/ssl"], "40700 5:6 86400.000000000");
    assert!(shown["etc/ssl/new"].starts_with("40755 0:0"));
}

/// What a layer between has deleted, replaced or made anew is not what is below.
#[test]
fn the_layers_between_count() {
    let layers = |between: Archive| [base(), between, Archive::new().file("etc/ssl/key", "").file("etc/.wh.gone", "")];
    let deleted = Stack::reconciled(layers(Archive::new().file(".wh.etc", "")));
    assert_eq!(deleted.top().into_keys().collect::<Vec<_>>(), ["etc", "etc/ssl", "etc/ssl/key"]);
    let shown = deleted.shown();
    assert!(shown["etc"].starts_with("40755 0:0") && shown["etc/ssl"].starts_with("40755 0:0"), "{shown:?}");
    assert!(!shown.contains_key("etc/passwd"));

    let replaced = Stack::reconciled(layers(Archive::new().file(".wh.etc", "").file("etc", "a file")));
    assert!(replaced.shown()["etc"].starts_with("40755 0:0"));

    let opaque = Archive::new().add(directory("etc/", 0o711, 7), b"").file("etc/.wh..wh..opq", "");
    let shown = Stack::reconciled(layers(opaque)).shown();
    assert!(shown["etc"].starts_with("40711 7:8") && shown["etc/ssl"].starts_with("40755 0:0"), "{shown:?}");
    assert!(!shown.contains_key("etc/ssl/cert"));
}

#[test]
fn an_entry_has_the_last_word() {
    let later = Archive::new().file("etc/ssl/key", "").add(directory("etc/ssl/", 0o711, 8), b"");
    let shown = Stack::reconciled([base(), later]).shown();
    assert_eq!(shown["etc/ssl"], "40711 8:9 86400.000000000");
    assert!(shown["etc"].starts_with("40750 3:4"));

    // A directory that was only a parent gives way to a file, and that to a directory.
    let replaced = Archive::new().file("etc/ssl/key", "").file("etc/ssl", "").file("tmp/x", "").symlink("tmp", "etc");
    let shown = Stack::reconciled([base(), replaced]).shown();
    assert!(shown["etc/ssl"].starts_with("100644") && shown["tmp"].ends_with("-> etc"), "{shown:?}");
    let again = Archive::new().file("tmp/x", "").file("tmp", "").add(directory("tmp/", 0o700, 9), b"");
    assert_eq!(Stack::reconciled([base(), again]).shown()["tmp"], "40700 9:10 86400.000000000");
}

/// The same directory deleted and made anew shows neither the files nor the looks of the old.
#[test]
fn a_new_directory_is_new() {
    for top in [
        Archive::new().file(".wh.etc", "").file("etc/hosts", ""),
        Archive::new().file("etc/hosts", "").file(".wh.etc", ""),
    ] {
        let shown = Stack::reconciled([base(), top]).shown();
        assert!(shown["etc"].starts_with("40755 0:0"), "{shown:?}");
        assert!(shown.contains_key("etc/hosts") && !shown.contains_key("etc/passwd"));
    }
    // Opaque, it is the old one emptied.
    let top = Archive::new().file("etc/hosts", "").file("etc/.wh..wh..opq", "");
    let shown = Stack::reconciled([base(), top]).shown();
    assert!(shown["etc"].starts_with("40750 3:4") && !shown.contains_key("etc/passwd"), "{shown:?}");
}

#[test]
fn an_opaque_root_hides_all_layers_below() {
    let middle = Archive::new().file(".wh.file", "").file("srv/www", "").file("etc/hosts", "");
    let top = Archive::new().file("etc/motd", "").file(".wh..wh..opq", "").file("srv", "a file").file("tmp/.wh.x", "");
    let stack = Stack::reconciled([base(), middle, top]);
    assert_eq!(stack.shown().into_keys().collect::<Vec<_>>(), ["etc", "etc/motd", "srv", "tmp"]);
    // Nothing hides what is hidden already.
    assert_eq!(stack.top().into_keys().collect::<Vec<_>>(), ["etc", "etc/motd", "srv", "tmp"]);
    assert!(stack.shown()["etc"].starts_with("40755 0:0"));
}

#[test]
fn whiteouts_stay_where_they_hide_something() {
    let top = Archive::new()
        .add(directory("etc/", 0o750, 3), b"")
        .file("etc/.wh.passwd", "")
        .file("etc/.wh.nothing", "")
        .file(".wh.nothing", "")
        .file("new/.wh.nothing", "");
    let stack = Stack::reconciled([base(), top]);
    assert_eq!(stack.top().into_keys().collect::<Vec<_>>(), ["etc", "etc/passwd", "new"]);
    let shown = stack.shown();
    assert!(!shown.contains_key("etc/passwd") && shown.contains_key("etc/ssl/cert"));
    // That something went again shows nowhere.
    assert_eq!(shown["etc"], "40750 3:4 86400.000000000");
}

#[test]
fn it_may_be_repeated_and_leaves_no_marks() {
    let top =
        || Archive::new().file("etc/ssl/key", "").file(".wh..wh..opq", "").file("tmp/.wh.x", "").file("tmp/y", "");
    let stack = Stack::unpacked([base(), top()]);
    let marked = stack.top();
    assert!(marked["tmp"].contains("trusted.containerd.implied"), "{marked:?}");
    assert!(!pack(&bind(&stack.layers[1]), &bind(&stack.layers[0])).0.windows(10).any(|at| at == b"containerd"));
    let mark = "trusted.containerd.pending";
    let value = xattr::get(|buffer| rustix::fs::getxattr(&stack.layers[0], mark, buffer)).unwrap();
    for _ in 0..2 {
        // As if the last of it had not been done.
        rustix::fs::setxattr(&stack.layers[0], mark, &value, rustix::fs::XattrFlags::empty()).unwrap();
        assert!(reconcile(&stack.layers[0], &bind(&stack.layers[1]), false).unwrap());
        assert_eq!(stack.shown().into_keys().collect::<Vec<_>>(), ["etc", "etc/ssl", "etc/ssl/key", "tmp", "tmp/y"]);
        assert!(stack.top().values().all(|text| !text.contains("containerd")));
        assert!(!reconcile(&stack.layers[0], &bind(&stack.layers[1]), false).unwrap());
    }
}

#[test]
fn the_lowest_layer_has_nothing_below() {
    let scratch = Scratch::new();
    let upper = scratch.dir("upper");
    let archive = Archive::new().file("a/b", "").file("a/.wh.c", "").file(".wh..wh..opq", "").bytes();
    unpack(&archive, &overlay_apart(&upper)).unwrap();
    assert!(reconcile(&upper, &[], false).unwrap());
    let plain = scratch.dir("plain");
    unpack(&archive, &bind(&plain)).unwrap();
    assert_eq!(describe(&upper, false), describe(&plain, false));
}

/// An archive cannot have a directory of its own taken for one without an entry, nor leave anything on the root.
#[test]
fn an_archives_own_attributes_are_no_marks() {
    let forged = [(b"trusted.containerd.implied".to_vec(), b"y".to_vec())];
    let root = [(b"trusted.containerd.pending".to_vec(), b"opaque".to_vec())];
    let top = Archive::new()
        .add(Member { xattrs: &root, ..directory("./", 0o755, 0) }, b"")
        .add(Member { xattrs: &forged, ..directory("etc/", 0o711, 8) }, b"")
        .file("etc/.wh.passwd", "");
    let shown = Stack::reconciled([base(), top]).shown();
    assert!(shown["etc"].starts_with("40711 8:9") && shown.contains_key("file"), "{shown:?}");
}

/// Links are not followed, neither out of a layer nor out of the host's way.
#[test]
fn links_below_are_not_followed() {
    let below = Archive::new().add(directory("real/", 0o700, 5), b"").symlink("link", "/etc").symlink("up", "../..");
    let top = Archive::new().file("link/.wh.passwd", "").file("link/x", "").file("up/etc/.wh.passwd", "");
    let stack = Stack::reconciled([below, top]);
    // A directory in place of a link is a new one.
    let names: Vec<String> = stack.top().into_keys().collect();
    assert_eq!(names, ["link", "link/x", "up", "up/etc"]);
    assert!(stack.shown()["link"].starts_with("40755 0:0"));
}
