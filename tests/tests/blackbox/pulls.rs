//! What a pull leaves: the same records as Go's, and, when a `kill -9` ends it in the middle, what the next one goes on
//! from.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::path::PathBuf;
use std::time::Duration;

use tests::bed::BUSYBOX;
use tests::ctr::output;
use tests::image::{Image, busybox, descriptor, digest, media};
use tests::layer::Layer;
use tests::leaks::entries;
use tests::proxy::Asked;
use tests::{Bed, Ctr, Daemon, Impl, Proxy, Registry, image, memory, rows};

/// What is recorded after a pull: digests with their labels, snapshots with their parents.
#[test]
fn a_pull_leaves_what_gos_leaves() {
    let registry = Registry::open();
    let reference = registry.name("team/app:1");
    let source = Daemon::start(Impl::Go, Impl::Go);
    source.ctr(Impl::Go).ok(&format!("images import --local {}", image::busybox_archive().display()));
    source.ctr(Impl::Go).ok(&format!("images push --plain-http {reference} {BUSYBOX}"));
    source.ctr(Impl::Go).ok(&format!("images rm --sync {BUSYBOX}"));
    let recorded = |daemon: &Daemon| {
        let ctr = daemon.ctr(Impl::Go);
        ctr.ok(&format!("images pull --plain-http {reference}"));
        (rows(&ctr, "content ls", &[0, 1], 4), rows(&ctr, "snapshots ls", &[0, 1, 2], 3), ctr.ok("images ls"))
    };
    let go = recorded(&source);
    let ours = Daemon::start(Impl::Ours, Impl::Ours);
    assert_eq!(recorded(&ours), go);
    for daemon in [source, ours] {
        daemon.ctr(Impl::Go).ok(&format!("images rm --sync {reference}"));
        daemon.finish();
    }
}

/// An image whose configuration is called `application/octet-stream`: it becomes the document that Go makes of it, is
/// unpacked, and runs.
#[test]
fn a_configuration_without_a_type_runs() {
    let registry = Registry::open();
    let reference = registry.name("team/old:1");
    let go = Daemon::start(Impl::Go, Impl::Go);
    let mut blobs = busybox(BUSYBOX).blobs();
    blobs.manifest = String::from_utf8(blobs.manifest).unwrap().replace(media::CONFIG, LEGACY).into_bytes();
    let mut entry = descriptor(media::MANIFEST, &blobs.manifest);
    entry["annotations"] = serde_json::json!({ "io.containerd.image.name": BUSYBOX });
    let all = blobs.layers.iter().chain([&blobs.config, &blobs.manifest]);
    let archive = go.dir().join("old.tar");
    std::fs::write(&archive, image::oci_archive(&[entry], all.map(Vec::as_slice))).unwrap();
    let digest = |ctr: &Ctr| {
        let row = ctr.ok(&format!("images ls name=={reference}")).lines().nth(1).unwrap().to_owned();
        row.split_whitespace().find(|word| word.starts_with("sha256:")).unwrap().to_owned()
    };
    let ctr = go.ctr(Impl::Ours);
    ctr.ok(&format!("images import --local --no-unpack {}", archive.display()));
    ctr.ok(&format!("images push --plain-http {reference} {BUSYBOX}"));
    ctr.ok(&format!("images rm --sync {BUSYBOX}"));
    let ctr = go.ctr(Impl::Go);
    ctr.ok(&format!("content fetch --plain-http {reference}"));
    let rewritten = digest(&ctr);
    assert_ne!(rewritten, image::digest(&blobs.manifest));
    ctr.ok(&format!("images rm --sync {reference}"));
    go.finish();

    let ours = Daemon::start(Impl::Ours, Impl::Ours);
    let ctr = ours.ctr(Impl::Go);
    ctr.ok(&format!("images pull --plain-http {reference}"));
    assert_eq!(digest(&ctr), rewritten);
    assert_eq!(ctr.names("snapshots ls").len(), 3);
    ctr.ok("leases create --id collect");
    ctr.ok("leases rm --sync collect");
    let listed = ctr.ok("content ls");
    assert!(!listed.contains(&image::digest(&blobs.manifest)), "nothing needs the old one: {listed}");
    assert_eq!(ctr.ok(&format!("run --rm {reference} old echo runs")), "runs\n");
    ctr.ok(&format!("images rm --sync {reference}"));
    for command in ["images pull --local", "content fetch"] {
        let ctr = ours.ctr(Impl::Ours);
        ctr.ok(&format!("{command} --plain-http {reference}"));
        assert_eq!(digest(&ctr), rewritten, "{command}");
        ctr.ok(&format!("images rm --sync {reference}"));
    }
    ours.finish();
}

/// What old clients call a configuration (distribution#1622).
const LEGACY: &str = "application/octet-stream";

/// Chosen columns of a table, and what follows column `rest`, sorted (labels come in no order).
fn rows(ctr: &Ctr, command: &str, columns: &[usize], rest: usize) -> BTreeMap<Vec<String>, Vec<String>> {
    let table = ctr.ok(command);
    let lines = table.lines().skip(1).map(|line| {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let chosen = columns.iter().filter_map(|&column| words.get(column).cloned()).collect();
        let labels = words.iter().skip(rest).flat_map(|words| words.split(',')).filter(|word| word.contains('='));
        let mut labels: Vec<String> = labels.map(str::to_owned).collect();
        labels.sort();
        (chosen, labels)
    });
    lines.collect()
}

/// Bytes of each layer below: what no compression makes smaller, so as much over the network as on the disk.
const LARGE: usize = 80 << 20;
/// Bytes that the daemon may grow by. It is to be at most 48 MB; allocators and debug builds may have some more.
const GROWTH: u64 = 72 << 20;

#[test]
fn memory_is_bounded_whatever_the_layers_have() {
    let daemon = Daemon::start(Impl::Ours, Impl::Ours);
    let registry = Registry::open();
    let reference = registry.name("team/large:1");
    let mut image = busybox("example.com/test/large:1");
    for seed in 0..2 {
        // What was there a mebibyte ago is too far away for gzip to refer to.
        let noise = crate::crash::noise(seed, 1 << 20).repeat(LARGE >> 20);
        image.layers.push(Layer::new().file(&format!("noise{seed}"), 0o644, &noise).finish());
    }
    push(&daemon, &image, &reference);
    memory::forget_peak(daemon.pid());
    let before = memory::rss(daemon.pid());
    let ctr = daemon.ctr(Impl::Ours);
    ctr.ok(&format!("images pull --plain-http {reference}"));
    let grown = memory::peak(daemon.pid()).saturating_sub(before);
    assert!(grown < GROWTH, "the daemon grew by {grown} bytes");
    ctr.ok(&format!("images rm --sync {reference}"));
    daemon.finish();
}

rows!(images_that_share_layers: all_go(Go Go Go) ours(Ours Ours Go) our_ctr(Ours Ours Ours));

/// Ten images pulled at once, that have five of their six layers in common: each layer comes once.
fn images_that_share_layers(bed: &mut Bed) {
    let (registry, ctr) = (Registry::open(), bed.ctr());
    let layer = |seed, len| Layer::new().file(&format!("noise{seed}"), 0o644, &crate::crash::noise(seed, len)).finish();
    let mut base = busybox("example.com/test/many:1");
    base.layers.extend([layer(100, 2 << 20), layer(101, 1 << 20)]);
    let images: Vec<Image> = (0..10)
        .map(|own| {
            let mut image = base.clone();
            image.layers.push(layer(own, 300_000));
            image
        })
        .collect();
    for (tag, image) in images.iter().enumerate() {
        push(&bed.daemon, image, &registry.name(&format!("team/many:{tag}")));
    }
    let proxy = Proxy::before(&registry);
    proxy.allow(0);
    let pull = |tag: usize| format!("images pull --plain-http {}", proxy.name(&format!("team/many:{tag}")));
    let pulls: Vec<_> = (0..images.len()).map(|tag| ctr.command(&pull(tag)).spawn().unwrap()).collect();
    // Each waits for its manifest; of Go's daemon as many as it fetches anything at a time.
    proxy.wait_for_held(if bed.row.daemon == Impl::Go { 3 } else { images.len() });
    proxy.allow(u64::MAX);
    for pull in pulls {
        let done = output(pull, b"");
        assert_eq!(done.code, 0, "{done:?}");
    }

    let listed = ctr.ok("images ls");
    for (tag, image) in images.iter().enumerate() {
        let (name, blobs) = (proxy.name(&format!("team/many:{tag}")), image.blobs());
        let row = listed.lines().find(|row| row.starts_with(&format!("{name} "))).unwrap();
        assert!(row.contains(&digest(&blobs.manifest)), "{row}");
        let check = ctr.ok(&format!("images check name=={name}"));
        assert!(check.contains("complete (7/7)") && check.trim_end().ends_with("true"), "{check}");
        for blob in blobs.layers.iter().chain([&blobs.config]) {
            assert_eq!(proxy.gets(&digest(blob)), [0], "{} of {name} is asked for once", digest(blob));
        }
    }
    assert_eq!(ctr.names("snapshots ls").len(), base.layers.len() + images.len());
    all_blobs_are_whole(&bed.daemon);
}

/// How often the daemon is killed.
const KILLS: usize = 10;
/// Layers of the image that it pulls meanwhile, and bytes of each. From 16 MiB on a layer comes in several parts at a
/// time, of which all but the first are in memory, and lost.
const LAYERS: u64 = 8;
const LAYER: usize = 12 << 20;
/// Bytes of bodies, at least and at most, that pass before a kill, and how many more may until it has come: together
/// fewer than the image has.
const BETWEEN: (u64, u64) = (1 << 20, 8 << 20);
const MEANWHILE: u64 = 1 << 20;
/// Bytes of one layer that are lost at a kill: between the proxy and the disk are 32 KiB of its buffer and 64 KiB of the
/// connection's window, four chunks of no more than that and one that is being written; and the first 64 KiB of a layer.
const LOST: u64 = 512 << 10;
/// Layers on their way at a time.
const DOWNLOADS: u64 = 3;

#[test]
fn a_killed_pull_goes_on_where_it_was() {
    let seed =
        std::env::var("SEED").map_or_else(|_| RandomState::new().build_hasher().finish(), |s| s.parse().unwrap());
    println!("SEED={seed}");
    let random = crate::crash::noise(seed, KILLS * 8);
    let random = random.chunks(8).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()));

    let mut daemon = Daemon::start(Impl::Ours, Impl::Ours);
    let registry = Registry::open();
    let proxy = Proxy::paced(&registry, Duration::from_millis(1));
    let reference = proxy.name("team/big:1");
    let mut image = busybox("example.com/test/big:1");
    let noise: Vec<Vec<u8>> = (0..LAYERS).map(|seed| crate::crash::noise(seed, LAYER)).collect();
    for (at, noise) in noise.iter().enumerate() {
        image.layers.push(Layer::new().file(&format!("noise{at}"), 0o644, noise).finish());
    }
    push(&daemon, &image, &registry.name("team/big:1"));

    let pull = format!("images pull --plain-http {reference}");
    let (mut found, mut resumed) = (Found::default(), 0);
    for bytes in random.map(|random| BETWEEN.0 + random % (BETWEEN.1 - BETWEEN.0)) {
        let (before, passed) = (proxy.asked().len(), proxy.passed());
        proxy.allow(bytes + MEANWHILE);
        let mut child = daemon.ctr(Impl::Ours).command(&pull).spawn().unwrap();
        proxy.wait_for_passed(passed + bytes);
        assert_eq!(child.try_wait().unwrap(), None, "the pull is under way");
        daemon.kill();
        child.wait().unwrap();
        proxy.wait_for_silence();
        resumed += found.resumed(&proxy.asked()[before..]);
        found = Found::by(&daemon);
        daemon.restart();
    }
    assert!(resumed > 0, "no kill left a layer in part");
    let before = proxy.asked().len();
    proxy.allow(u64::MAX);
    let ctr = daemon.ctr(Impl::Ours);
    ctr.ok(&pull);
    resumed += found.resumed(&proxy.asked()[before..]);
    let blobs = image.blobs();
    let size = blobs.layers.iter().chain([&blobs.config, &blobs.manifest]).map(|blob| blob.len() as u64).sum::<u64>();
    let (passed, lost) = (proxy.passed(), KILLS as u64 * DOWNLOADS * LOST);
    println!("{resumed} requests for the rest of a layer; {} bytes came twice", passed - size);
    assert!(passed <= size + lost, "{passed} bytes for an image of {size}");

    let check = ctr.ok("images check");
    assert!(check.contains("complete") && check.contains("true"), "{check}");
    all_blobs_are_whole(&daemon);
    let files: Vec<String> = (0..LAYERS).map(|at| format!("/noise{at}")).collect();
    let sums = ctr.ok(&format!("run --rm {reference} look /bin/busybox sha256sum {}", files.join(" ")));
    let expected: Vec<String> =
        noise.iter().zip(&files).map(|(noise, file)| format!("{}  {file}", &digest(noise)[7..])).collect();
    assert_eq!(sums.lines().collect::<Vec<_>>(), expected, "a file unpacked is whole");
    let left = ctr.names("snapshots ls");
    let committed = left.iter().filter(|key| key.starts_with("sha256:")).count();
    assert_eq!(committed, image.layers.len(), "{left:?}");
    // Leases of the killed pulls hold what those began.
    for lease in ctr.names("leases ls") {
        ctr.ok(&format!("leases rm --sync {lease}"));
    }
    let left = ctr.names("snapshots ls");
    assert_eq!(left.len(), image.layers.len(), "{left:?}");
    ctr.ok(&format!("images rm --sync {reference}"));
    assert!(ctr.names("content ls").is_empty());
    daemon.finish();
}

const BLOBS: &str = "io.containerd.content.v1.content/blobs/sha256";
const INGESTS: &str = "io.containerd.content.v1.content/ingest";

fn all_blobs_are_whole(daemon: &Daemon) {
    for path in entries(&daemon.root().join(BLOBS)) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(digest(&std::fs::read(&path).unwrap()), format!("sha256:{name}"), "a blob in place is whole");
    }
}

/// What a killed daemon has left on disk, by digest.
#[derive(Default)]
struct Found {
    whole: BTreeSet<String>,
    /// And how many bytes.
    parts: BTreeMap<String, u64>,
}

impl Found {
    fn by(daemon: &Daemon) -> Self {
        let name = |path: &PathBuf| format!("sha256:{}", path.file_name().unwrap().display());
        let whole = entries(&daemon.root().join(BLOBS)).iter().map(name).collect();
        let part = |ingest: &PathBuf| {
            let bytes = std::fs::metadata(ingest.join("data")).ok()?.len();
            let reference = std::fs::read_to_string(ingest.join("ref")).unwrap();
            (bytes > 0).then(|| (format!("sha256:{}", reference.split_once("-sha256:").unwrap().1), bytes))
        };
        Self { whole, parts: entries(&daemon.root().join(INGESTS)).iter().filter_map(part).collect() }
    }

    /// Checks that the next pull asked for nothing that was there already; how many blobs it asked for the rest of.
    fn resumed(&self, asked: &[Asked]) -> usize {
        let mut resumed = 0;
        for Asked { url, from, .. } in asked {
            let Some((_, digest)) = url.split_once("/blobs/") else { continue };
            assert!(!self.whole.contains(digest), "{digest} was there");
            assert_eq!(*from, self.parts.get(digest).copied().unwrap_or(0), "{digest} goes on where it was");
            resumed += usize::from(*from > 0);
        }
        resumed
    }
}

/// Brings `image` into the registry, and leaves nothing of it in the store.
fn push(daemon: &Daemon, image: &Image, reference: &str) {
    let ctr = daemon.ctr(Impl::Ours).in_namespace(&format!("{}-source", daemon.namespace()));
    let archive = daemon.dir().join("image.tar");
    std::fs::write(&archive, image.oci_archive()).unwrap();
    ctr.ok(&format!("images import --local --no-unpack {}", archive.display()));
    ctr.ok(&format!("images push --plain-http {reference} {}", image.name));
    ctr.ok(&format!("images rm --sync {}", image.name));
}
