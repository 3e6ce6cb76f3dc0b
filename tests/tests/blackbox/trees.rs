//! What an image unpacks to, by whichever client, on whichever snapshotter.

use std::collections::BTreeMap;
use std::fs;

use serde_json::json;
use tests::image::Image;
use tests::{Bed, rows, trees};

rows!(the_same_everywhere: ours(Ours Ours Go) our_ctr(Ours Ours Ours));

/// Layers that leave much to those below them, unpacked side by side or one after the other.
fn the_same_everywhere(bed: &mut Bed) {
    for opaque in [false, true] {
        for local in ["", "--local"] {
            let tag = format!("{opaque}{local}");
            let layers = trees::sparse_layers(&tag, opaque);
            let image = Image { name: format!("example.com/sparse/image:{tag}"), layers, config: json!({}) };
            let shown = ["overlayfs", "native"].map(|snapshotter| unpacked(bed, &image, local, snapshotter));
            assert_eq!(shown[0], shown[1], "left: overlayfs, right: native ({local})");
            trees::check_sparse(&shown[0], opaque);
        }
    }
}

fn unpacked(bed: &Bed, image: &Image, local: &str, snapshotter: &str) -> BTreeMap<String, String> {
    let (ctr, dir) = (bed.ctr(), bed.daemon.dir());
    let (archive, target) = (dir.join("sparse.tar"), dir.join("sparse"));
    fs::write(&archive, image.oci_archive()).unwrap();
    ctr.ok(&format!("images import {local} --snapshotter {snapshotter} {}", archive.display()));
    fs::create_dir_all(&target).unwrap();
    ctr.ok(&format!("images mount --snapshotter {snapshotter} {} {}", image.name, target.display()));
    let shown = trees::describe(&target);
    ctr.ok(&format!("images unmount --rm --snapshotter {snapshotter} {}", target.display()));
    shown
}
