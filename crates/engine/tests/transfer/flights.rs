//! Pulls that want the same at once, and pulls beside those that get nowhere.

use crate::{
    bed::{Bed, eventually},
    fake::{Asked, Fake},
    image::{Image, Layer},
    slow::{Crawl, Gate, Slow},
};
use engine::transfer::{Progress, ProgressSink, TransferConfig};
use model::{Labels, Namespace, Scope};
use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};
use store::{Sharing, WriterOptions};

const SOURCE: &str = "containerd.io/distribution.source.127.0.0.1";
/// Longer than any test.
const NEVER: Duration = Duration::from_secs(3600);

fn scope(namespace: &str) -> Scope {
    Scope::new(Namespace::new(namespace).unwrap())
}

fn name(layer: &Layer) -> String {
    format!("layer-{}", layer.digest())
}

/// What a pull has told so far.
struct Heard {
    told: ProgressSink,
    so_far: Vec<Progress>,
}

impl Heard {
    fn of(told: ProgressSink) -> Self {
        Self { told, so_far: Vec::new() }
    }

    /// Waits until `event` of `layer` is told.
    async fn hears(&mut self, layer: &Layer, event: &str) -> Progress {
        self.hears_of(&name(layer), event).await
    }

    /// Waits until `event` is told of what has this beginning of a name.
    async fn hears_of(&mut self, name: &str, event: &str) -> Progress {
        self.hears_at_least(name, event, 0).await
    }

    /// The same, with so many bytes.
    async fn hears_at_least(&mut self, name: &str, event: &str, bytes: u64) -> Progress {
        let wanted = |progress: &Progress| {
            progress.name.starts_with(name) && progress.event == event && progress.progress >= bytes
        };
        if let Some(told) = self.so_far.iter().rfind(|told| wanted(told)) {
            return told.clone();
        }
        let heard = async {
            loop {
                let progress = self.told.next().await;
                self.so_far.push(progress.clone());
                if wanted(&progress) {
                    return progress;
                }
            }
        };
        tokio::time::timeout(tests::PATIENCE, heard).await.unwrap_or_else(|_| panic!("{event} is not told"))
    }
}

/// One layer that is in memory until it is a blob, one that is a file before.
fn small_and_large() -> Image {
    Image::new(vec![Layer::new(&[("small", b"a")]), Layer::random("large", 300_000, 1)])
}

/// Whether everybody in `scope` has given back what a transfer held: who leaves does so a little later.
fn no_leases(bed: &Bed, scope: &Scope) -> bool {
    bed.store.list_leases(scope, &model::Filter::parse::<&str>(&[]).unwrap()).unwrap().is_empty()
}

/// A registry that holds back the layers of `image`.
fn held_back(image: &Image) -> (Fake, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let (held, paths) = (Arc::clone(&gate), image.layers.iter().map(|layer| format!("blobs/{}", layer.digest())));
    let paths: Vec<String> = paths.collect();
    let fake = Fake::start(&[("v1", image)], move |asked, _| {
        if paths.contains(&asked.what) {
            held.wait();
        }
        None
    });
    (fake, gate)
}

#[tokio::test(flavor = "multi_thread")]
async fn namespaces_share_a_fetch_or_each_has_its_own() {
    let image = small_and_large();
    for (sharing, leaves) in
        [Sharing::Shared, Sharing::Isolated].into_iter().flat_map(|how| [(how, false), (how, true)])
    {
        let what = format!("{sharing:?}, the first leaves: {leaves}");
        let (fake, gate) = held_back(&image);
        let bed = Arc::new(Bed::sharing(sharing));
        let (one, two) = (scope("one"), scope("two"));
        let asked = |times| image.layers.iter().all(|layer| fake.gets(&layer.digest()) == times);
        let (first, _) = bed.begin(&one, &fake.reference("v1"), "overlayfs");
        assert!(eventually(|| asked(1)), "{what}");
        let (second, told) = bed.begin(&two, &fake.reference("v1"), "overlayfs");
        let mut told = Heard::of(told);
        match sharing {
            Sharing::Shared => drop(told.hears(&image.layers[1], "waiting").await),
            // A turn is left, of three.
            Sharing::Isolated => {
                let gets = || image.layers.iter().map(|layer| fake.gets(&layer.digest())).sum::<usize>();
                assert!(eventually(|| gets() == 3), "{what}");
            }
        }
        if leaves {
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
            gate.open();
        } else {
            gate.open();
            first.await.unwrap().unwrap_or_else(|error| panic!("{what}: {error}"));
        }
        second.await.unwrap().unwrap_or_else(|error| panic!("{what}: {error}"));
        assert!(eventually(|| no_leases(&bed, &one) && no_leases(&bed, &two)), "{what}");
        match sharing {
            // What only the first's namespace had, and nobody in there wants any more, may be collected before it is ours.
            Sharing::Shared => assert!(leaves || asked(1), "{what}"),
            Sharing::Isolated => assert!(asked(2), "{what}"),
        }
        bed.store.collect_garbage().unwrap();
        for (layer, chain_id) in image.layers.iter().zip(image.chain()) {
            assert_eq!(bed.store.blob_info(&two, &layer.digest()).unwrap().labels[SOURCE], "app", "{what}");
            assert!(bed.store.stat_snapshot(&two, "overlayfs", chain_id.as_str()).is_ok(), "{what}");
            assert_eq!(bed.store.blob_info(&one, &layer.digest()).is_ok(), !leaves, "{what}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blob_that_came_by_other_ways_has_our_source_too() {
    let image = small_and_large();
    let (fake, gate) = held_back(&image);
    let bed = Arc::new(Bed::new());
    let (pull, _) = bed.begin(&bed.scope, &fake.reference("v1"), "overlayfs");
    for layer in &image.layers {
        assert!(eventually(|| fake.gets(&layer.digest()) == 1));
        let options = WriterOptions { reference: format!("other-{}", layer.digest()), ..WriterOptions::default() };
        let mut writer = bed.store.open_writer(&bed.scope, &options).unwrap();
        writer.write(&layer.blob).unwrap();
        let kept = Labels::from([("containerd.io/gc.root".to_owned(), "now".to_owned())]);
        writer.commit(0, Some(&layer.digest()), kept).unwrap();
    }
    gate.open();
    pull.await.unwrap().unwrap();
    for layer in &image.layers {
        let labels = bed.labels(&layer.digest());
        assert_eq!((labels[SOURCE].as_str(), labels["containerd.io/gc.root"].as_str()), ("app", "now"));
    }
}

/// What a second pull of the same image shows, and that it needs the first for nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_second_pull_is_on_board_while_the_first_unpacks() {
    let image = Image::new(vec![Layer::random("small", 20_000, 1), Layer::random("large", 1 << 20, 2)]);
    let [small, large] = &image.layers[..] else { panic!("two layers") };
    let crawl = |layer: &Layer, first| Crawl { digest: layer.digest(), first, every: NEVER };
    for (snapshotter, leaves) in [("overlayfs", true), ("overlayfs", false), ("native", true), ("native", false)] {
        let slow = Slow::start(&[("v1", &image)], vec![crawl(small, 10_000), crawl(large, 700_000)]);
        let bed = Arc::new(Bed::new());
        let pull = || bed.begin(&bed.scope, &slow.reference("v1"), snapshotter);
        let (first, told) = pull();
        let mut told = Heard::of(told);
        // One layer upon the other, or all at once.
        if snapshotter == "overlayfs" {
            told.hears(large, "extracting").await;
        } else {
            told.hears(small, "downloading").await;
            assert!(eventually(|| slow.gets(&large.digest()) == 1));
        }
        let (second, told) = pull();
        let mut told = Heard::of(told);
        let here = told.hears(small, "waiting").await;
        assert_eq!((here.progress, here.total), (0, small.blob.len() as u64));
        assert_eq!(told.hears_at_least(&name(small), "downloading", 10_000).await.progress, 10_000);
        if snapshotter == "overlayfs" {
            let (progress, first) = (told.hears(large, "extracting").await.progress, 700_000);
            assert!(progress > 0 && progress <= first, "{progress}");
        }
        if leaves {
            first.abort();
            assert!(first.await.unwrap_err().is_cancelled());
            slow.gate.open();
        } else {
            slow.gate.open();
            first.await.unwrap().unwrap();
        }
        second.await.unwrap().unwrap();
        told.hears(large, "extracted").await;
        for layer in &image.layers {
            assert_eq!(slow.gets(&layer.digest()), 1, "{snapshotter}, the first leaves: {leaves}");
        }
        assert!(eventually(|| no_leases(&bed, &bed.scope)));
        bed.store.collect_garbage().unwrap();
        assert_eq!(bed.snapshots(snapshotter).len(), 2);
        assert!(bed.file(snapshotter, &image.chain()[1], "large").is_some());
    }
}

/// Layers that come byte by byte, more of them than are unpacked or followed at a time.
#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_crawls_holds_up_its_own_images_only() {
    let crawling: Vec<Layer> = (0..3).map(|seed| Layer::random("f", 500_000, seed)).collect();
    // The same layers again are other snapshots.
    let crawler = Image::new([&crawling[..], &crawling, &crawling, &crawling].concat());
    let crawl = |layer: &Layer| Crawl { digest: layer.digest(), first: 300_000, every: Duration::from_millis(50) };
    let slow = Slow::start(&[("v1", &crawler)], crawling.iter().map(crawl).collect());
    let healthy = Image::new((10..16).map(|seed| Layer::random("f", 400_000, seed)).collect());
    let fake = Fake::start(&[("v1", &healthy)], |_, _| None);
    let bed = Arc::new(Bed::with(TransferConfig { max_concurrent_unpacks: 2, ..TransferConfig::default() }));
    let (pull, told) = bed.begin(&bed.scope, &slow.reference("v1"), "overlayfs");
    let mut told = Heard::of(told);
    let begun = bed.begin(&bed.scope, &slow.reference("v1"), "native");
    // Whichever has a place.
    told.hears_of("layer-", "extracting").await;
    let reference = fake.reference("v1");
    let pulled = tokio::time::timeout(tests::PATIENCE, bed.pull(&reference, "overlayfs"));
    pulled.await.expect("it waits for the other registry").unwrap();
    assert!(!pull.is_finished());
    slow.gate.open();
    pull.await.unwrap().unwrap();
    begun.0.await.unwrap().unwrap();
    assert_eq!(bed.snapshots("overlayfs").len(), 12 + 6);
    for layer in &crawling {
        assert_eq!(slow.gets(&layer.digest()), 1);
    }
}

/// Threads of the daemon are few; whoever waits for a registry must not have one.
#[test]
fn pulls_that_are_stuck_hold_no_threads() {
    const THREADS: usize = 4;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(THREADS)
        .enable_all()
        .build()
        .unwrap();
    let stuck: Vec<Image> =
        (0..2 * THREADS as u64).map(|seed| Image::new(vec![Layer::random("f", 1000, seed)])).collect();
    let tags: Vec<String> = (0..stuck.len()).map(|image| format!("v{image}")).collect();
    let named: Vec<(&str, &Image)> = tags.iter().map(String::as_str).zip(&stuck).collect();
    let crawl = |image: &Image| Crawl { digest: image.config_digest(), first: 1, every: NEVER };
    let slow = Slow::start(&named, stuck.iter().map(crawl).collect());
    let healthy = small_and_large();
    let fake = Fake::start(&[("v1", &healthy)], |_, _| None);
    runtime.block_on(async {
        let bed = Arc::new(Bed::new());
        let pulls: Vec<_> = tags.iter().map(|tag| bed.begin(&bed.scope, &slow.reference(tag), "overlayfs").0).collect();
        assert!(eventually(|| stuck.iter().all(|image| slow.gets(&image.config_digest()) == 1)));
        let reference = fake.reference("v1");
        let pulled = tokio::time::timeout(tests::PATIENCE, bed.pull(&reference, "overlayfs"));
        pulled.await.expect("there is no thread").unwrap();
        slow.gate.open();
        for pull in pulls {
            pull.await.unwrap().unwrap();
        }
    });
}

/// Requests for layers that a registry has not answered: now, and at most.
#[derive(Default)]
struct Open {
    now: AtomicUsize,
    most: AtomicUsize,
}

impl Open {
    fn enter(&self) {
        self.most.fetch_max(self.now.fetch_add(1, SeqCst) + 1, SeqCst);
    }

    fn leave(&self) {
        self.now.fetch_sub(1, SeqCst);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_for_layers_are_bounded_for_a_registry_and_in_all() {
    const PER_REGISTRY: usize = 3;
    let image = |seed: u64| Image::new((0..5).map(|layer| Layer::random("f", 100_000, seed * 10 + layer)).collect());
    let images: Vec<Image> = (0..5).map(image).collect();
    let (gate, all) = (Arc::new(Gate::default()), Arc::new(Open::default()));
    let registries: Vec<(Fake, Arc<Open>)> = images
        .iter()
        .map(|image| {
            let layers: Vec<String> = image.layers.iter().map(|layer| format!("blobs/{}", layer.digest())).collect();
            let (gate, all, own) = (Arc::clone(&gate), Arc::clone(&all), Arc::new(Open::default()));
            let counted = Arc::clone(&own);
            let twist = move |asked: &Asked, _: &[u8]| {
                if layers.contains(&asked.what) {
                    [&all, &counted].into_iter().for_each(|open| open.enter());
                    gate.wait();
                    [&all, &counted].into_iter().for_each(|open| open.leave());
                }
                None
            };
            (Fake::start(&[("v1", image)], twist), own)
        })
        .collect();
    let bed = Arc::new(Bed::new());
    let begin = |(fake, _): &(Fake, _)| bed.begin(&bed.scope, &fake.reference("v1"), "").0;
    let first = begin(&registries[0]);
    let most = || all.most.load(SeqCst);
    assert!(eventually(|| most() == PER_REGISTRY));
    let others: Vec<_> = registries[1..].iter().map(begin).collect();
    assert!(eventually(|| most() == 4 * PER_REGISTRY));
    // Time for one more, if there were any.
    tokio::time::sleep(Duration::from_millis(200)).await;
    gate.open();
    first.await.unwrap().unwrap();
    for other in others {
        other.await.unwrap().unwrap();
    }
    assert_eq!(most(), 4 * PER_REGISTRY);
    for ((fake, own), image) in registries.iter().zip(&images) {
        assert!(own.most.load(SeqCst) <= PER_REGISTRY);
        assert!(image.layers.iter().all(|layer| fake.gets(&layer.digest()) == 1));
    }
}
