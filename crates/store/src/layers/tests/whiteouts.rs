//! Deletions, in a plain directory and as an overlay shows them: both must give the same tree.

use super::*;
use sys::mount::TempMount;

/// Unpacks `layers` into one directory, as the layers of an overlay one after the other, and as the same apart from
/// each other. Returns the tree that all of them show.
fn both(layers: &[Vec<u8>]) -> BTreeMap<String, String> {
    let scratch = Scratch::new();
    let plain = scratch.dir("plain");
    let (mut stacked, mut apart): (Vec<PathBuf>, Vec<PathBuf>) = Default::default();
    for (index, layer) in layers.iter().enumerate() {
        unpack(layer, &bind(&plain)).unwrap();
        let upper = scratch.dir(&format!("stacked{index}"));
        let below: Vec<&Path> = stacked.iter().map(PathBuf::as_path).collect();
        let mounts = if below.is_empty() { bind(&upper) } else { overlay(Some(&upper), &below) };
        unpack(layer, &mounts).unwrap();
        stacked.insert(0, upper);
        let upper = scratch.dir(&format!("apart{index}"));
        unpack(layer, &if apart.is_empty() { bind(&upper) } else { overlay_apart(&upper) }).unwrap();
        apart.insert(0, upper);
    }
    for index in (0..apart.len()).rev() {
        reconcile(&apart[index], &layers_of(&apart[index + 1..]), false).unwrap();
        assert!(!reconcile(&apart[index], &[], false).unwrap(), "nothing is left to do");
    }
    let shown = [&stacked, &apart].map(|layers| {
        let layers: Vec<&Path> = layers.iter().map(PathBuf::as_path).collect();
        describe(TempMount::new(&overlay(None, &layers)).unwrap().path(), false)
    });
    assert_eq!(shown[0], describe(&plain, false), "left: overlay, right: plain directory");
    assert_eq!(shown[1], shown[0], "left: overlay of layers unpacked apart, right: overlay");
    shown[1].clone()
}

fn names(tree: &BTreeMap<String, String>) -> Vec<&str> {
    tree.keys().map(String::as_str).collect()
}

fn base() -> Vec<u8> {
    Archive::new()
        .dir("etc")
        .file("etc/passwd", "root")
        .file("etc/group", "root")
        .dir("etc/ssl")
        .file("etc/ssl/cert", "pem")
        .file("file", "one")
        .symlink("link", "etc")
        .bytes()
}

#[test]
fn files_directories_and_links_go() {
    let top = Archive::new().file("etc/.wh.passwd", "").file("etc/.wh.ssl", "").file(".wh.link", "").bytes();
    assert_eq!(names(&both(&[base(), top])), ["etc", "etc/group", "file"]);
}

#[test]
fn what_was_never_there_may_go_too() {
    let top = Archive::new().file(".wh.nothing", "").file("new/.wh.nothing", "").bytes();
    let tree = both(&[base(), top]);
    assert!(tree.contains_key("new") && !tree.keys().any(|name| name.contains("nothing")));
}

#[test]
fn an_opaque_directory_shows_only_its_own_wherever_the_mark_stands() {
    for mark_first in [true, false] {
        let mut top = Archive::new().dir("etc");
        if mark_first {
            top = top.file("etc/.wh..wh..opq", "");
        }
        top = top.file("etc/hosts", "").dir("etc/ssl").file("etc/ssl/key", "");
        if !mark_first {
            top = top.file("etc/.wh..wh..opq", "");
        }
        let tree = both(&[base(), top.bytes()]);
        assert_eq!(names(&tree), ["etc", "etc/hosts", "etc/ssl", "etc/ssl/key", "file", "link"]);
    }
}

#[test]
fn opacity_keeps_files_in_directories_without_an_entry() {
    let top = Archive::new().file("etc/ssl/key", "").file("etc/.wh..wh..opq", "").bytes();
    assert_eq!(names(&both(&[base(), top])), ["etc", "etc/ssl", "etc/ssl/key", "file", "link"]);
}

#[test]
fn the_root_can_be_opaque() {
    let top = Archive::new().file("etc/hosts", "").file(".wh..wh..opq", "").file("late", "").bytes();
    assert_eq!(names(&both(&[base(), top])), ["etc", "etc/hosts", "late"]);
    let top = Archive::new().file(".wh..wh..opq", "").dir("etc").file("etc/hosts", "").bytes();
    assert_eq!(names(&both(&[base(), top])), ["etc", "etc/hosts"]);
}

#[test]
fn a_directory_made_anew_shows_nothing_of_the_old() {
    for mark_first in [true, false] {
        let mut top = Archive::new();
        if mark_first {
            top = top.file(".wh.etc", "");
        }
        top = top.dir("etc").file("etc/hosts", "");
        if !mark_first {
            top = top.file(".wh.etc", "");
        }
        assert_eq!(names(&both(&[base(), top.bytes()])), ["etc", "etc/hosts", "file", "link"]);
    }
    // The same for a directory that is only the parent of something.
    let top = Archive::new().file(".wh.etc", "").file("etc/hosts", "").bytes();
    assert_eq!(names(&both(&[base(), top])), ["etc", "etc/hosts", "file", "link"]);
}

#[test]
fn whiteouts_do_not_concern_the_layer_they_are_in() {
    let top = Archive::new().file("file", "two").file(".wh.file", "").bytes();
    assert_eq!(
        names(&both(&[base(), top])),
        ["etc", "etc/group", "etc/passwd", "etc/ssl", "etc/ssl/cert", "file", "link"]
    );
    let top = Archive::new().file(".wh.file", "").file("file", "two").file(".wh.etc", "").file(".wh.etc", "").bytes();
    assert_eq!(names(&both(&[base(), top])), ["file", "link"]);
}

#[test]
fn a_file_takes_a_deleted_ones_place_and_kinds_change() {
    let top = Archive::new().file(".wh.etc", "").file("etc", "now a file").dir("file").symlink("link", "x").bytes();
    let tree = both(&[base(), top]);
    assert_eq!(names(&tree), ["etc", "file", "link"]);
    assert!(tree["etc"].starts_with("100644") && tree["file"].starts_with("40755") && tree["link"].ends_with("-> x"));
}

#[test]
fn a_layer_may_come_onto_an_upper_directory_in_use() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    unpack(&base(), &bind(&lower)).unwrap();
    let mounts = overlay(Some(&upper), &[&lower]);
    unpack(&Archive::new().file("file", "two").dir("etc").file("etc/hosts", "").bytes(), &mounts).unwrap();
    let second = Archive::new().file(".wh.file", "").file("etc/.wh..wh..opq", "").file("etc/motd", "").bytes();
    unpack(&second, &mounts).unwrap();
    let mounted = TempMount::new(&mounts).unwrap();
    assert_eq!(names(&describe(mounted.path(), false)), ["etc", "etc/motd", "link"]);
}

#[test]
fn with_userxattr_the_marks_are_the_users() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    unpack(&base(), &bind(&lower)).unwrap();
    let mut mounts = overlay(Some(&upper), &[&lower]);
    mounts[0].options.push("userxattr".into());
    let forged = [(b"user.overlay.redirect".to_vec(), b"/etc".to_vec())];
    let top = Archive::new()
        .file("etc/.wh..wh..opq", "")
        .file("etc/hosts", "")
        .add(Member { xattrs: &forged, mode: 0o755, ..member(Kind::Directory, "other/") }, b"")
        .bytes();
    unpack(&top, &mounts).unwrap();
    assert!(describe(&upper, false)["etc"].contains("user.overlay.opaque=[121]"));
    assert!(!describe(&upper, false)["other"].contains("redirect"));
    let mounted = TempMount::new(&mounts).unwrap();
    assert_eq!(names(&describe(mounted.path(), false)), ["etc", "etc/hosts", "file", "link", "other"]);
}

#[test]
fn whiteouts_are_owned_as_the_layer_says() {
    let scratch = Scratch::new();
    let (lower, upper) = (scratch.dir("lower"), scratch.dir("upper"));
    fs::write(lower.join("x"), "").unwrap();
    let mounts = overlay(Some(&upper), &[&lower]);
    unpack(&Archive::new().add(Member { uid: 33, gid: 34, ..member(Kind::File, ".wh.x") }, b"").bytes(), &mounts)
        .unwrap();
    let meta = fs::symlink_metadata(upper.join("x")).unwrap();
    assert_eq!((meta.rdev(), meta.uid(), meta.gid()), (0, 33, 34));
}
