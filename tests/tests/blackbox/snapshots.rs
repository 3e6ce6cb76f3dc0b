//! Snapshots through ctr: the life of a key, what mounts say, differences.

use std::fs;

use tests::{Bed, matrix};

matrix! { storage: life, tree_and_info, refusals, differences, native_snapshotter }

fn life(bed: &mut Bed) {
    let ctr = bed.ctr();
    let target = bed.daemon.dir().join("work");
    fs::create_dir(&target).unwrap();
    ctr.ok("snapshots prepare base");
    mounted(bed, "base", |dir| fs::write(dir.join("one"), "1").unwrap());
    ctr.ok("snapshots commit layer base");
    ctr.ok("snapshots prepare upper layer");
    mounted(bed, "upper", |dir| {
        assert_eq!(fs::read_to_string(dir.join("one")).unwrap(), "1");
        fs::remove_file(dir.join("one")).unwrap();
        fs::write(dir.join("two"), "2").unwrap();
    });
    ctr.ok("snapshots commit both upper");
    ctr.ok("snapshots view look both");
    mounted(bed, "look", |dir| {
        assert!(!dir.join("one").exists());
        assert_eq!(fs::read_to_string(dir.join("two")).unwrap(), "2");
        assert!(fs::write(dir.join("no"), "").is_err(), "a view is read-only");
    });
    let usage = ctr.ok("snapshots usage both");
    assert!(usage.contains("both"), "{usage}");
    for key in ["look", "both", "layer"] {
        ctr.ok(&format!("snapshots rm {key}"));
    }
    assert!(ctr.names("snapshots ls").is_empty());
}

fn tree_and_info(bed: &mut Bed) {
    let ctr = bed.ctr();
    ctr.ok("snapshots prepare a");
    ctr.ok("snapshots commit base a");
    ctr.ok("snapshots prepare child base");
    let table = ctr.ok("snapshots ls");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows[0], ["KEY", "PARENT", "KIND"]);
    assert_eq!(rows[1..], [vec!["base", "Committed"], vec!["child", "base", "Active"]]);
    let tree = ctr.ok("snapshots tree");
    assert!(tree.find("base").unwrap() < tree.find("child").unwrap(), "{tree}");
    ctr.ok("snapshots label base colour=red");
    let info: serde_json::Value = serde_json::from_str(&ctr.ok("snapshots info base")).unwrap();
    assert_eq!((&info["Kind"], &info["Name"]), (&"Committed".into(), &"base".into()));
    assert_eq!(info["Labels"]["colour"], "red");
    assert!(ctr.ok("snapshots info child").contains("\"Parent\": \"base\""));
}

fn refusals(bed: &mut Bed) {
    let ctr = bed.ctr();
    ctr.ok("snapshots prepare a");
    assert!(ctr.fails("snapshots prepare a").contains("already exists"));
    ctr.ok("snapshots commit base a");
    ctr.ok("snapshots prepare child base");
    let parent = ctr.fails("snapshots rm base");
    assert!(parent.contains("cannot remove snapshot with child"), "{parent}");
    assert!(ctr.fails("snapshots prepare x absent").contains("absent"));
    assert!(ctr.fails("snapshots commit y absent").contains("absent"));
    assert!(ctr.fails("snapshots rm absent").contains("absent"));
    assert!(ctr.fails("snapshots --snapshotter imagined ls").contains("imagined"));
    assert_eq!(ctr.names("snapshots ls"), ["base", "child"]);
}

fn differences(bed: &mut Bed) {
    let ctr = bed.ctr();
    ctr.ok("snapshots prepare a");
    mounted(bed, "a", |dir| fs::write(dir.join("stays"), "1").and_then(|()| fs::write(dir.join("goes"), "")).unwrap());
    ctr.ok("snapshots commit base a");
    ctr.ok("snapshots prepare b base");
    mounted(bed, "b", |dir| {
        fs::remove_file(dir.join("goes")).unwrap();
        fs::write(dir.join("comes"), "new").unwrap();
    });
    let tar = bed.daemon.dir().join("diff.tar");
    let out = ctr.command("snapshots diff --media-type application/vnd.oci.image.layer.v1.tar b");
    let mut out = out;
    let status = out.stdout(fs::File::create(&tar).unwrap()).status().unwrap();
    assert!(status.success());
    let mut archive = tar::Archive::new(fs::File::open(&tar).unwrap());
    let mut names: Vec<String> =
        archive.entries().unwrap().map(|e| e.unwrap().path().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, [".wh.goes", "comes"]);
}

fn native_snapshotter(bed: &mut Bed) {
    let ctr = bed.ctr();
    let archive = tests::image::busybox_archive();
    ctr.ok(&format!("images import --local --snapshotter native {}", archive.display()));
    assert_eq!(ctr.names("snapshots --snapshotter native ls").len(), 3);
    assert!(ctr.names("snapshots ls").is_empty());
    ctr.says(&format!("run --rm --snapshotter native {} copy cat /etc/motd", tests::bed::BUSYBOX), "last\n");
}

/// Mounts a snapshot as `snapshots mounts` says, works in it and unmounts it.
fn mounted(bed: &Bed, key: &str, work: impl FnOnce(&std::path::Path)) {
    let target = bed.daemon.dir().join("target");
    fs::create_dir_all(&target).unwrap();
    let line = bed.ctr().ok(&format!("snapshots mounts {} {key}", target.display()));
    assert!(line.starts_with("mount -t "), "{line}");
    assert!(std::process::Command::new("sh").args(["-c", &line]).status().unwrap().success(), "{line}");
    work(&target);
    tests::unmounted(&target);
}
