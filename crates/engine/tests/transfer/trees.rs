//! The trees that images unpack to: the same on every snapshotter, and whether or not layers wait for each other.

use crate::{
    bed::Bed,
    image::{Image, Layer},
    registry::{Registry, repository},
};
use model::{Kind, Labels, Mount};
use std::{collections::BTreeMap, path::Path, sync::Arc};
use store::{
    layers::{ApplyOptions, TAR, apply},
    snapshot::{Capability, Overlay, overlay::Config},
};
use sys::mount::TempMount;
use tests::trees;

fn sparse(opaque: bool) -> Image {
    Image::new(trees::sparse_layers(&opaque.to_string(), opaque).iter().map(|layer| Layer::of(layer)).collect())
}

impl Bed {
    fn tree(&self, snapshotter: &str, name: &str) -> BTreeMap<String, String> {
        let view = format!("view-{name}");
        let root = Labels::from([("containerd.io/gc.root".to_owned(), "now".to_owned())]);
        let mounts = self.store.view_snapshot(&self.scope, snapshotter, &view, name, root).unwrap();
        let tree = trees::describe(TempMount::new(&mounts).unwrap().path());
        self.store.remove_snapshot(&self.scope, snapshotter, &view).unwrap();
        tree
    }
}

fn user_xattr(root: &Path) -> Overlay {
    Overlay::open(root, Config { mount_options: vec!["userxattr".into()], ..Config::default() }).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_side_by_side_or_one_by_one() {
    let registry = Registry::start("", "");
    let root = tempfile::tempdir().unwrap();
    let bed = Bed::with_snapshotter("userxattr", Arc::new(user_xattr(root.path())));
    let can = |snapshotter| bed.store.snapshotter_capabilities(snapshotter).unwrap().contains(&Capability::Rebase);
    assert!(can("overlayfs") && !can("userxattr"));
    for opaque in [false, true] {
        let image = sparse(opaque);
        image.push(&repository(&registry.address, "sparse"), &format!("opaque-{opaque}")).await;
        for snapshotter in ["native", "overlayfs", "userxattr"] {
            bed.pull(&format!("{}/sparse:opaque-{opaque}", registry.address), snapshotter).await.unwrap();
            for name in image.chain() {
                let trees = [snapshotter, "native"].map(|snapshotter| bed.tree(snapshotter, name.as_str()));
                assert_eq!(trees[0], trees[1], "left: {snapshotter}, right: native");
            }
            trees::check_sparse(&bed.tree(snapshotter, image.chain()[2].as_str()), opaque);
        }
    }
}

/// What Go's clients do: prepare without a parent, apply to the mount dressed up, commit with a parent.
#[test]
fn a_client_that_names_the_parent_at_the_commit() {
    let root = tempfile::tempdir().unwrap();
    let bed = Bed::with_snapshotter("userxattr", Arc::new(user_xattr(root.path())));
    let layers = trees::sparse_layers("", false);
    let unpack = |snapshotter: &str, name: &str, parent: &str, layer: &[u8]| {
        let key = format!("extract-{name}");
        let root = || Labels::from([("containerd.io/gc.root".to_owned(), "now".to_owned())]);
        let mut mounts = bed.store.prepare_snapshot(&bed.scope, snapshotter, &key, "", root()).unwrap();
        if !parent.is_empty() {
            let upper = format!("upperdir={}", mounts[0].source);
            let options = vec!["rw".into(), upper];
            mounts = vec![Mount { fs_type: "overlay".into(), source: "overlay".into(), options, ..Mount::default() }];
        }
        apply(layer, TAR, &mounts, &ApplyOptions::default()).unwrap();
        bed.store.commit_snapshot(&bed.scope, snapshotter, name, &key, parent, root())
    };
    unpack("overlayfs", "one", "", &layers[0]).unwrap();
    unpack("overlayfs", "two", "one", &layers[1]).unwrap();
    unpack("overlayfs", "three", "two", &layers[2]).unwrap();
    trees::check_sparse(&bed.tree("overlayfs", "three"), false);
    // The directory of the snapshot, `tmp`, `tmp/x`, `srv`, `srv/www`, `srv/www/index`, `new`, and that `opt` is gone.
    assert_eq!(bed.store.snapshot_usage(&bed.scope, "overlayfs", "two").unwrap().inodes, 8);

    unpack("userxattr", "one", "", &layers[0]).unwrap();
    assert_eq!(unpack("userxattr", "two", "one", &layers[1]).unwrap_err().kind(), Kind::Unimplemented);
}
