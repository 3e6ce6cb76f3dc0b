//! Container records through ctr.

use tests::{Bed, matrix};

matrix! { storage: records, labels, identifiers, oci_spec }

fn records(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("containers create --env A=b {image} one sleep 5"));
    let table = ctr.ok("containers ls");
    let rows: Vec<Vec<&str>> = table.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(rows, [vec!["CONTAINER", "IMAGE", "RUNTIME"], vec!["one", image, "io.containerd.runc.v2"]]);
    let info: serde_json::Value = serde_json::from_str(&ctr.ok("containers info one")).unwrap();
    assert_eq!((&info["Image"], &info["SnapshotKey"]), (&image.into(), &"one".into()));
    assert_eq!(info["Spec"]["process"]["args"], serde_json::json!(["sleep", "5"]));
    assert!(info["Spec"]["process"]["env"].as_array().unwrap().contains(&"A=b".into()));
    let spec: serde_json::Value = serde_json::from_str(&ctr.ok("containers info --spec one")).unwrap();
    assert_eq!(spec["process"], info["Spec"]["process"]);
    assert!(ctr.fails(&format!("containers create {image} one")).contains("already exists"));
    assert!(ctr.names("snapshots ls").contains(&"one".to_owned()));
    ctr.ok("containers rm one");
    assert!(!ctr.names("snapshots ls").contains(&"one".to_owned()));
    assert!(ctr.fails("containers info one").contains("one"));
}

fn labels(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("containers create --label tier=a {image} first"));
    ctr.ok(&format!("containers create --label tier=b {image} second"));
    assert_eq!(ctr.ok("containers ls -q labels.tier==a"), "first\n");
    ctr.ok("containers label second tier=a");
    assert_eq!(ctr.ok("containers ls -q labels.tier==a"), "first\nsecond\n");
    ctr.ok("containers rm first second");
    assert_eq!(ctr.ok("containers ls -q"), "");
}

fn identifiers(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let longest = "a".repeat(76);
    ctr.ok(&format!("containers create {image} {longest}"));
    for id in [format!("{longest}a"), "with/slash".to_owned(), "_leading".to_owned(), "dots..twice".to_owned()] {
        let refused = ctr.fails(&format!("containers create {image} {id}"));
        assert!(refused.contains(id.get(..70).unwrap_or(&id)), "{refused}");
    }
    assert_eq!(ctr.ok("containers ls -q"), format!("{longest}\n"));
    ctr.ok(&format!("containers rm {longest}"));
}

fn oci_spec(bed: &mut Bed) {
    let spec: serde_json::Value = serde_json::from_str(&bed.ctr().ok("oci spec")).unwrap();
    assert!(spec["ociVersion"].as_str().unwrap().starts_with("1."));
    assert_eq!(spec["root"]["path"], "rootfs");
}
