//! Pulls.

use crate::{
    bed::Bed,
    image::{Image, Layer},
    registry::{Registry, repository},
};

#[tokio::test(flavor = "multi_thread")]
async fn an_image_is_stored_unpacked_and_named_as_containerd_does() {
    let registry = Registry::start("", "");
    let lower = Layer::new(&[("etc/a", b"lower"), ("etc/gone", b"x")]);
    let upper = Layer::new(&[("etc/b", b"upper"), ("etc/.wh.gone", b"")]);
    let image = Image::new(vec![lower, Layer::random("big", 3 << 20, 1), upper]);
    image.push(&repository(&registry.address, "team/app"), "v1").await;
    let reference = format!("{}/team/app:v1", registry.address);

    for snapshotter in ["overlayfs", "native"] {
        let bed = Bed::new();
        bed.pull(&reference, snapshotter).await.unwrap();

        let record = bed.store.get_image(&bed.scope, &reference).unwrap();
        assert_eq!(record.target.digest, image.digest());
        let source = "containerd.io/distribution.source.127.0.0.1";
        let manifest = bed.labels(&image.digest());
        assert_eq!(manifest[source], "team/app");
        assert_eq!(manifest["containerd.io/gc.ref.content.config"], image.config_digest().as_str());
        for (index, layer) in image.layers.iter().enumerate() {
            assert_eq!(manifest[&format!("containerd.io/gc.ref.content.l.{index}")], layer.digest().as_str());
            let labels = bed.labels(&layer.digest());
            assert_eq!(labels["containerd.io/uncompressed"], layer.diff_id.as_str());
            assert_eq!(labels[source], "team/app");
        }
        let chain = image.chain();
        let config = bed.labels(&image.config_digest());
        assert_eq!(config[&format!("containerd.io/gc.ref.snapshot.{snapshotter}")], chain[2].as_str());
        let mut expected: Vec<String> = chain.iter().map(ToString::to_string).collect();
        expected.sort();
        assert_eq!(bed.snapshots(snapshotter), expected);
        for (index, name) in chain.iter().enumerate() {
            let info = bed.store.stat_snapshot(&bed.scope, snapshotter, name.as_str()).unwrap();
            let parent = index.checked_sub(1).map(|below| chain[below].to_string()).unwrap_or_default();
            assert_eq!(info.parent, parent);
            assert_eq!(info.labels["containerd.io/snapshot.ref"], name.as_str());
        }
        assert_eq!(bed.file(snapshotter, &chain[2], "etc/a").unwrap(), b"lower");
        assert_eq!(bed.file(snapshotter, &chain[2], "etc/b").unwrap(), b"upper");
        assert_eq!(bed.file(snapshotter, &chain[2], "etc/gone"), None);
        assert_eq!(bed.file(snapshotter, &chain[1], "etc/gone").unwrap(), b"x");
        // Nothing is left over, and all of it outlives a collection.
        assert!(bed.ingests().is_empty());
        assert!(bed.store.list_leases(&bed.scope, &model::Filter::parse::<&str>(&[]).unwrap()).unwrap().is_empty());
        bed.store.collect_garbage().unwrap();
        assert_eq!(bed.snapshots(snapshotter), expected);
        assert!(image.layers.iter().all(|layer| bed.store.blob_info(&bed.scope, &layer.digest()).is_ok()));
        bed.pull(&reference, snapshotter).await.unwrap();
    }
}
