//! Pulls that go wrong, and what is left of them.

use crate::{
    bed::{Bed, eventually},
    fake::{Fake, well},
    image::{Image, LAYER, Layer, digest},
    registry::{reply, reply_claiming},
    slow::Gate,
};
use model::Kind;
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

#[tokio::test(flavor = "multi_thread")]
async fn blobs_that_pulls_share_are_fetched_once() {
    let shared = [Layer::random("one", 2 << 20, 1), Layer::random("two", 1 << 20, 2)];
    let images: Vec<Image> =
        (0..10).map(|own| Image::new([&shared[..], &[Layer::random("own", 300_000, 10 + own)]].concat())).collect();
    let tags: Vec<String> = (0..10).map(|own| format!("v{own}")).collect();
    let named: Vec<(&str, &Image)> = tags.iter().map(String::as_str).zip(&images).collect();
    let fake = Fake::start(&named, |_, _| None);
    let bed = Arc::new(Bed::new());
    let mut pulls = tokio::task::JoinSet::new();
    for tag in &tags {
        let (bed, reference) = (Arc::clone(&bed), fake.reference(tag));
        pulls.spawn(async move { bed.pull(&reference, "overlayfs").await });
    }
    while let Some(pulled) = pulls.join_next().await {
        pulled.unwrap().unwrap();
    }
    for image in &images {
        for layer in &image.layers {
            assert_eq!(fake.gets(&layer.digest()), 1, "{}", layer.digest());
        }
        assert!(bed.snapshots("overlayfs").contains(&image.chain()[2].to_string()));
    }
    bed.store.collect_garbage().unwrap();
    assert_eq!(bed.snapshots("overlayfs").len(), 2 + 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_goes_on_where_another_broke_off() {
    let image = Image::new(vec![Layer::random("a", 2 << 20, 1), Layer::new(&[("b", b"b")])]);
    let (layer, broken) = (image.layers[0].clone(), Arc::new(AtomicBool::new(true)));
    let (path, state) = (format!("blobs/{}", layer.digest()), Arc::clone(&broken));
    let fake = Fake::start(&[("v1", &image)], move |asked, bytes| {
        if asked.what != path || !state.load(Ordering::Relaxed) {
            return None;
        }
        // Half of it, then nothing more.
        Some(match asked.range {
            None => reply_claiming("200 OK", &[], &bytes[..bytes.len() / 2], bytes.len()),
            Some(_) => reply("404 Not Found", &[], b""),
        })
    });
    let bed = Bed::new();
    let error = bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap_err();
    assert!(error.to_string().contains(layer.digest().as_str()), "{error}");
    assert!(bed.snapshots("overlayfs").is_empty() || eventually(|| bed.snapshots("overlayfs").is_empty()));
    let reference = format!("layer-{}", layer.digest());
    assert!(eventually(|| bed.ingests() == [reference.clone()]), "{:?}", bed.ingests());
    // What nobody holds goes, but not what can be resumed; that outlives the daemon too.
    bed.store.collect_garbage().unwrap();
    let status = bed.store.ingest_status(&bed.scope, &reference).unwrap();
    assert_eq!(status.offset, layer.blob.len() as u64 / 2);
    let bed = bed.reopened();

    broken.store(false, Ordering::Relaxed);
    let before = fake.asked().len();
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
    let path = format!("blobs/{}", layer.digest());
    let resumed: Vec<_> =
        fake.asked().drain(before..).filter(|asked| asked.what == path).map(|asked| asked.range).collect();
    assert_eq!(resumed, [Some((layer.blob.len() / 2, None))]);
    assert_eq!(bed.file("overlayfs", &image.chain()[1], "b").unwrap(), b"b");
    assert!(bed.ingests().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_bytes_leave_nothing() {
    let image = Image::new(vec![Layer::random("a", 200_000, 1), Layer::random("b", 300_000, 2)]);
    let good = Layer::random("a", 200_000, 1);
    let mut bad = good.blob.clone();
    bad[100_000] ^= 1;
    let (path, wrong) = (format!("blobs/{}", good.digest()), Arc::new(AtomicBool::new(true)));
    let state = Arc::clone(&wrong);
    let fake = Fake::start(&[("v1", &image)], move |asked, _| {
        (asked.what == path && state.load(Ordering::Relaxed)).then(|| well(asked, LAYER, &bad))
    });
    let bed = Bed::new();
    let error = bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap_err();
    assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
    assert!(error.to_string().contains(good.digest().as_str()), "{error}");
    assert!(bed.store.get_image(&bed.scope, &fake.reference("v1")).unwrap_err().is_not_found());
    assert!(eventually(|| bed.snapshots("overlayfs").is_empty()), "{:?}", bed.snapshots("overlayfs"));
    // The wrong bytes are not kept to be resumed.
    let reference = format!("layer-{}", good.digest());
    assert!(eventually(|| !bed.ingests().contains(&reference)));
    wrong.store(false, Ordering::Relaxed);
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
    assert_eq!(bed.snapshots("overlayfs").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn bytes_of_a_resumed_ingest_may_be_wrong() {
    let image = Image::new(vec![Layer::random("a", 500_000, 1)]);
    let layer = &image.layers[0];
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    let bed = Bed::new();
    let options = store::WriterOptions {
        reference: format!("layer-{}", layer.digest()),
        total: layer.blob.len() as u64,
        expected: Some(layer.digest()),
        ..store::WriterOptions::default()
    };
    let mut writer = bed.store.open_writer(&bed.scope, &options).unwrap();
    writer.write(&vec![7; 400_000]).unwrap();
    drop(writer);
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
    let blob = bed.store.open_reader(&bed.scope, &layer.digest()).unwrap();
    let mut bytes = vec![0; layer.blob.len()];
    blob.read_at(&mut bytes, 0).unwrap();
    assert_eq!(digest(&bytes), layer.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_layer_with_another_diff_id_is_refused() {
    let mut layers = vec![Layer::random("a", 200_000, 1), Layer::random("b", 300_000, 2)];
    layers[1].diff_id = digest(b"something else");
    let image = Image::new(layers);
    let fake = Fake::start(&[("v1", &image)], |_, _| None);
    for snapshotter in ["overlayfs", "native"] {
        let bed = Bed::new();
        let error = bed.pull(&fake.reference("v1"), snapshotter).await.unwrap_err();
        assert_eq!(error.kind(), Kind::FailedPrecondition, "{error}");
        assert!(error.to_string().contains(image.layers[1].diff_id.as_str()), "{error}");
        assert!(bed.store.get_image(&bed.scope, &fake.reference("v1")).unwrap_err().is_not_found());
        // The layer below it is as it should be, and goes with the lease.
        let below = image.chain()[0].to_string();
        assert!(eventually(|| bed.snapshots(snapshotter).iter().all(|name| *name == below)));
        bed.store.collect_garbage().unwrap();
        assert!(bed.snapshots(snapshotter).is_empty());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fetch_outlives_one_of_those_who_wait_for_it() {
    let shared = Layer::random("shared", 1 << 20, 1);
    let one = Image::new(vec![shared.clone(), Layer::random("one", 100_000, 2)]);
    let two = Image::new(vec![shared.clone(), Layer::random("two", 100_000, 3)]);
    let (gate, path) = (Arc::new(Gate::default()), format!("blobs/{}", shared.digest()));
    let held = Arc::clone(&gate);
    let fake = Fake::start(&[("one", &one), ("two", &two)], move |asked, _| {
        if asked.what == path {
            held.wait();
        }
        None
    });
    let bed = Arc::new(Bed::new());
    let pull = |tag: &str| bed.begin(&bed.scope, &fake.reference(tag), "");
    let (first, _) = pull("one");
    assert!(eventually(|| fake.gets(&shared.digest()) == 1));
    let (second, told) = pull("two");
    let name = format!("layer-{}", shared.digest());
    while told.next().await.name != name {}
    // The second waits for the first one's request, which outlives it.
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    gate.open();
    second.await.unwrap().unwrap();
    assert_eq!(fake.gets(&shared.digest()), 1);
    bed.store.collect_garbage().unwrap();
    assert!(bed.store.blob_info(&bed.scope, &shared.digest()).is_ok());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_pull_leaves_only_what_can_be_resumed() {
    let image = Image::new(vec![Layer::random("a", 200_000, 1), Layer::random("b", 1 << 20, 2)]);
    let stalled = image.layers[1].clone();
    let (path, gate) = (format!("blobs/{}", stalled.digest()), Arc::new(Gate::default()));
    let held = Arc::clone(&gate);
    let fake = Fake::start(&[("v1", &image)], move |asked, bytes| {
        if asked.what != path {
            return None;
        }
        if asked.range.is_some() {
            held.wait();
            return None;
        }
        Some(reply_claiming("200 OK", &[], &bytes[..bytes.len() / 2], bytes.len()))
    });
    let bed = Arc::new(Bed::new());
    let (pulling, reference) = (Arc::clone(&bed), fake.reference("v1"));
    let pull = tokio::spawn(async move { pulling.pull(&reference, "overlayfs").await });
    assert!(eventually(|| fake.gets(&stalled.digest()) == 2));
    let whole = image.layers[0].digest();
    assert!(eventually(|| bed.store.blob_info(&bed.scope, &whole).is_ok()));
    pull.abort();
    assert!(pull.await.unwrap_err().is_cancelled());
    let all = model::Filter::parse::<&str>(&[]).unwrap();
    assert!(eventually(|| bed.store.list_leases(&bed.scope, &all).unwrap().is_empty()));
    assert!(eventually(|| bed.snapshots("overlayfs").iter().all(|name| !name.starts_with("extract"))));
    bed.store.collect_garbage().unwrap();
    assert!(bed.snapshots("overlayfs").is_empty());
    assert!(bed.store.list_images(&bed.scope, &all).unwrap().is_empty());
    assert!(bed.store.list_blobs(&bed.scope, &all).unwrap().is_empty(), "what had come whole is held by nobody");
    assert_eq!(bed.ingests(), [format!("layer-{}", stalled.digest())]);
    gate.open();
    bed.pull(&fake.reference("v1"), "overlayfs").await.unwrap();
}

/// Threads are few; blobs that wait for their turn must not take them from those whose turn it is.
#[test]
fn many_blobs_share_few_threads() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(10)
        .enable_all()
        .build()
        .unwrap();
    let images: Vec<Image> = (0..6)
        .map(|image| Image::new((0..16).map(|layer| Layer::random("f", 100_000, image * 100 + layer)).collect()))
        .collect();
    let tags: Vec<String> = (0..images.len()).map(|image| format!("v{image}")).collect();
    let named: Vec<(&str, &Image)> = tags.iter().map(String::as_str).zip(&images).collect();
    let fake = Fake::start(&named, |_, _| None);
    runtime.block_on(async {
        let bed = Arc::new(Bed::new());
        let mut pulls = tokio::task::JoinSet::new();
        for tag in &tags {
            let (bed, reference) = (Arc::clone(&bed), fake.reference(tag));
            pulls.spawn(async move { bed.pull(&reference, "overlayfs").await });
        }
        let all = async {
            while let Some(pulled) = pulls.join_next().await {
                pulled.unwrap().unwrap();
            }
        };
        tokio::time::timeout(tests::PATIENCE, all).await.expect("the pulls wait for each other");
        assert_eq!(bed.snapshots("overlayfs").len(), 6 * 16);
    });
}
