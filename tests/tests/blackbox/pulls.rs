//! What a pull leaves: the same records as Go's, and, when a `kill -9` ends it in the middle, what the next one goes on
//! from.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use tests::bed::BUSYBOX;
use tests::image::{Image, busybox, descriptor, digest, media};
use tests::layer::Layer;
use tests::leaks::entries;
use tests::{Ctr, Daemon, Impl, Registry, image, memory};

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

/// When the daemon is killed, counted from the begin of a pull.
const DELAYS: [u64; 10] = [10, 30, 60, 100, 140, 190, 250, 320, 400, 500];

#[test]
fn a_killed_pull_goes_on_where_it_was() {
    let mut daemon = Daemon::start(Impl::Ours, Impl::Ours);
    let registry = Registry::open();
    let reference = registry.name("team/big:1");
    let mut image = busybox("example.com/test/big:1");
    for seed in 0..4 {
        let noise = crate::crash::noise(seed, 12 << 20);
        image.layers.push(Layer::new().file(&format!("noise{seed}"), 0o644, &noise).finish());
    }
    push(&daemon, &image, &reference);
    let pull = format!("images pull --plain-http {reference}");
    for delay in DELAYS {
        let mut child = daemon.ctr(Impl::Ours).command(&pull).spawn().unwrap();
        sleep(Duration::from_millis(delay));
        daemon.kill();
        child.wait().unwrap();
        daemon.restart();
    }
    let ctr = daemon.ctr(Impl::Ours);
    ctr.ok(&pull);
    let check = ctr.ok("images check");
    assert!(check.contains("complete") && check.contains("true"), "{check}");
    for path in entries(&daemon.root().join("io.containerd.content.v1.content/blobs/sha256")) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(digest(&std::fs::read(&path).unwrap()), format!("sha256:{name}"), "a blob in place is whole");
    }
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

/// Brings `image` into the registry, and leaves nothing of it in the store.
fn push(daemon: &Daemon, image: &Image, reference: &str) {
    let ctr = daemon.ctr(Impl::Ours).in_namespace(&format!("{}-source", daemon.namespace()));
    let archive = daemon.dir().join("image.tar");
    std::fs::write(&archive, image.oci_archive()).unwrap();
    ctr.ok(&format!("images import --local --no-unpack {}", archive.display()));
    ctr.ok(&format!("images push --plain-http {reference} {}", image.name));
    ctr.ok(&format!("images rm --sync {}", image.name));
}
