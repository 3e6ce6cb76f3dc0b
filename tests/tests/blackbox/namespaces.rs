//! Namespaces and leases through ctr.

use tests::{Bed, matrix};

matrix! { storage: namespaces, namespaces_are_apart, leases_keep_content, plugins_and_version }

fn namespaces(bed: &mut Bed) {
    let ctr = bed.ctr();
    ctr.ok("namespaces create red colour=red");
    assert_eq!(ctr.ok("namespaces ls -q"), "red\n");
    assert!(ctr.ok("namespaces ls").contains("colour=red"));
    ctr.ok("namespaces label red colour=crimson extra=1");
    assert!(ctr.ok("namespaces ls").contains("colour=crimson"));
    assert!(ctr.fails("namespaces create red").contains("already exists"));
    assert!(ctr.fails("namespaces create 'no spaces'").contains("no spaces"));
    ctr.ok("namespaces rm red");
    assert_eq!(ctr.ok("namespaces ls -q"), "");
}

fn namespaces_are_apart(bed: &mut Bed) {
    let image = bed.import();
    let other = bed.ctr().in_namespace("elsewhere");
    assert!(other.names("images ls").is_empty());
    assert_eq!(other.ok("content ls -q"), "");
    assert!(other.fails(&format!("run --rm {image} x true")).contains(image));
    // What is left in a namespace is named, and keeps it.
    let namespace = bed.daemon.namespace().to_owned();
    let refused = bed.ctr().fails(&format!("namespaces rm {namespace}"));
    for left in [&namespace, "images", "blobs", "snapshots"] {
        assert!(refused.contains(left), "{refused}");
    }
    bed.ctr().ok(&format!("images rm --sync {image}"));
    bed.ctr().ok(&format!("namespaces rm {namespace}"));
}

fn leases_keep_content(bed: &mut Bed) {
    let ctr = bed.ctr();
    assert_eq!(ctr.ok("leases create --id kept -x 1h purpose=test").trim(), "kept");
    let table = ctr.ok("leases ls");
    assert!(table.contains("kept") && table.contains("purpose=test"), "{table}");
    assert!(ctr.fails("leases create --id kept").contains("already exists"));
    ctr.ok("leases rm --sync kept");
    assert!(ctr.names("leases ls").is_empty());
    assert!(ctr.fails("leases rm kept").contains("kept"));
}

fn plugins_and_version(bed: &mut Bed) {
    let ctr = bed.ctr();
    let version = ctr.ok("version");
    assert!(
        version.contains("Server:") && version.contains("Version:  2") || version.contains("Version: 2"),
        "{version}"
    );
    let plugins = ctr.ok("plugins ls");
    for id in ["overlayfs", "native", "content", "bolt", "scheduler", "walking", "containers-service", "task"] {
        let row = plugins.lines().find(|line| line.split_whitespace().nth(1) == Some(id));
        assert!(row.is_some_and(|row| row.trim_end().ends_with("ok")), "{id} is not ok: {plugins}");
    }
}
