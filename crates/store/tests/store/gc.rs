//! Garbage collection: what is kept, what goes, and what happens at the same time.

use crate::support::*;
use model::{Container, Digest, Filter, Kind, Labels, Resource, Scope, Timestamp};
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};
use store::{GcConfig, Store, WriterOptions};

fn past() -> String {
    Timestamp { seconds: 1_000_000, nanos: 0 }.to_rfc3339()
}

fn future() -> String {
    Timestamp { seconds: Timestamp::now().seconds + 3600, nanos: 0 }.to_rfc3339()
}

fn has(store: &Store, scope: &Scope, digest: &Digest) -> bool {
    store.blob_info(scope, digest).is_ok()
}

fn committed(store: &Store, scope: &Scope, name: &str, parent: &str, with: &[(&str, &str)]) {
    store.prepare_snapshot(scope, "test", &format!("active-{name}"), parent, Labels::new()).unwrap();
    store.commit_snapshot(scope, "test", name, &format!("active-{name}"), "", labels(with)).unwrap();
}

#[test]
fn an_image_keeps_its_tree_and_its_snapshots() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let layer = put_blob(store, &scope, b"layer", &[]);
    committed(store, &scope, "chain-1", "", &[]);
    committed(store, &scope, "chain-2", "chain-1", &[]);
    let config = put_blob(store, &scope, b"config", &[("containerd.io/gc.ref.snapshot.test", "chain-2")]);
    let manifest = put_blob(
        store,
        &scope,
        b"manifest",
        &[
            ("containerd.io/gc.ref.content.config", config.as_str()),
            ("containerd.io/gc.ref.content.l.0", layer.as_str()),
        ],
    );
    store.create_image(&scope, image("i", &manifest), None).unwrap();
    let loose = put_blob(store, &scope, b"loose", &[]);
    committed(store, &scope, "loose", "", &[]);
    fixture.events.take();

    let stats = store.collect_garbage().unwrap();
    assert_eq!(stats.removed, 2);
    assert_eq!(fixture.events.topics(), ["/snapshot/remove"], "containerd tells of images and snapshots only");
    assert!(!has(store, &scope, &loose) && !fixture.blob_file(&loose).exists());
    for digest in [&layer, &config, &manifest] {
        assert!(has(store, &scope, digest) && fixture.blob_file(digest).exists());
    }
    assert_eq!(fixture.driver.ids().len(), 2);

    store.delete_image(&scope, "i", None).unwrap();
    assert_eq!(store.collect_garbage().unwrap().removed, 5);
    assert_eq!(store.list_blobs(&scope, &Filter::all()).unwrap(), []);
    assert!(!fixture.blob_file(&layer).exists());
    assert_eq!(fixture.driver.ids().len(), 0);
    // Nothing left to do: no backend is asked.
    let stats = store.collect_garbage().unwrap();
    assert_eq!((stats.removed, stats.content, stats.snapshots.len()), (0, None, 0));
}

#[test]
fn leases_hold_expire_and_are_flat() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    store.create_lease(&scope, "full", labels(&[("containerd.io/gc.expire", &future())])).unwrap();
    store.create_lease(&scope, "flat", labels(&[("containerd.io/gc.flat", "true")])).unwrap();
    store.create_lease(&scope, "old", labels(&[("containerd.io/gc.expire", &past())])).unwrap();
    store.create_lease(&scope, "odd", labels(&[("containerd.io/gc.expire", "whenever")])).unwrap();
    let tree = |name: &str| {
        let leaf = put_blob(store, &scope, format!("leaf of {name}").as_bytes(), &[]);
        let reference = [("containerd.io/gc.ref.content", leaf.as_str())];
        let root = put_blob(store, &leased("n", name), format!("root of {name}").as_bytes(), &reference);
        (root, leaf)
    };
    let (full, flat, old, odd) = (tree("full"), tree("flat"), tree("old"), tree("odd"));
    committed(store, &leased("n", "flat"), "base", "", &[]);
    committed(store, &leased("n", "flat"), "top", "base", &[]);
    store.remove_lease_resource(&scope, "flat", &Resource::Snapshot("test".into(), "base".into())).unwrap();

    store.collect_garbage().unwrap();
    assert!(has(store, &scope, &full.0) && has(store, &scope, &full.1));
    assert!(has(store, &scope, &flat.0) && !has(store, &scope, &flat.1), "a flat lease holds no references");
    assert!(!has(store, &scope, &old.0) && !has(store, &scope, &old.1));
    assert!(has(store, &scope, &odd.0) && has(store, &scope, &odd.1), "an expiry that does not parse is none");
    assert_eq!(store.get_lease(&scope, "old").unwrap_err().kind(), Kind::NotFound);
    assert!(store.stat_snapshot(&scope, "test", "base").is_ok(), "a flat lease holds parents");

    for lease in ["full", "flat", "odd"] {
        store.delete_lease(&scope, lease).unwrap();
    }
    store.collect_garbage().unwrap();
    assert_eq!(store.list_blobs(&scope, &Filter::all()).unwrap(), []);
    assert_eq!(fixture.driver.ids().len(), 0);
}

#[test]
fn labels_root_refer_and_refer_back() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    let rooted = put_blob(store, &scope, b"rooted", &[("containerd.io/gc.root", "now")]);
    let by_container = put_blob(store, &scope, b"by container", &[("containerd.io/gc.bref.container.x", "c")]);
    let by_missing = put_blob(store, &scope, b"by missing", &[("containerd.io/gc.bref.container.x", "gone")]);
    let by_image = put_blob(store, &scope, b"by image", &[]);
    let mut expired = image("expired", &by_image);
    expired.labels = labels(&[("containerd.io/gc.expire", &past())]);
    store.create_image(&scope, expired.clone(), None).unwrap();
    store.create_image(&scope, model::Image { name: "expired and kept".into(), ..expired }, None).unwrap();
    store.prepare_snapshot(&scope, "test", "rootfs", "", Labels::new()).unwrap();
    let kept = labels(&[("containerd.io/gc.ref.image", "expired and kept")]);
    let record =
        Container { labels: kept, snapshotter: "test".into(), snapshot_key: "rootfs".into(), ..container("c") };
    store.create_container(&scope, record).unwrap();

    fixture.events.take();
    store.collect_garbage().unwrap();
    assert_eq!(fixture.events.topics(), ["/images/delete"]);
    assert!(has(store, &scope, &rooted) && has(store, &scope, &by_container) && has(store, &scope, &by_image));
    assert!(!has(store, &scope, &by_missing));
    assert_eq!(store.get_image(&scope, "expired").unwrap_err().kind(), Kind::NotFound);
    assert!(store.stat_snapshot(&scope, "test", "rootfs").is_ok());

    store.delete_container(&scope, "c").unwrap();
    store.collect_garbage().unwrap();
    assert!(has(store, &scope, &rooted) && !has(store, &scope, &by_container) && !has(store, &scope, &by_image));
    assert!(store.stat_snapshot(&scope, "test", "rootfs").is_err());
}

#[test]
fn an_ingest_without_lease_is_kept_for_a_day_and_one_with_as_long_as_the_lease() {
    let fixture = Fixture::new();
    let (store, scope) = (&fixture.store, scope("n"));
    store.create_lease(&scope, "l", Labels::new()).unwrap();
    let begin = |scope: &Scope, reference: &str| {
        let options = WriterOptions { reference: reference.into(), ..WriterOptions::default() };
        store.open_writer(scope, &options).unwrap().write(b"part").unwrap();
    };
    begin(&scope, "fresh");
    begin(&leased("n", "l"), "leased");
    store.collect_garbage().unwrap();
    assert_eq!(store.list_ingests(&scope, &Filter::all()).unwrap().len(), 2);
    store.delete_lease(&scope, "l").unwrap();
    store.collect_garbage().unwrap();
    let left: Vec<_> = store.list_ingests(&scope, &Filter::all()).unwrap().into_iter().map(|i| i.reference).collect();
    assert_eq!(left, ["fresh"]);
    let ingests = fixture.dir.path().join("io.containerd.content.v1.content/ingest");
    assert_eq!(std::fs::read_dir(ingests).unwrap().count(), 1);
}

#[test]
fn blobs_of_other_namespaces_are_left_alone() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let one = put_blob(store, &scope("a"), b"both", &[("containerd.io/gc.root", "x")]);
    put_blob(store, &scope("b"), b"both", &[]);
    store.collect_garbage().unwrap();
    assert!(has(store, &scope("a"), &one) && !has(store, &scope("b"), &one) && fixture.blob_file(&one).exists());
}

#[test]
fn what_a_crash_left_is_found_by_the_first_collection() {
    let fixture = Fixture::new();
    let orphan = digest(b"orphan");
    std::fs::write(fixture.blob_file(&orphan), b"orphan").unwrap();
    fixture.driver.orphan(4711);
    let fixture = fixture.reopen();
    fixture.store.collect_garbage().unwrap();
    assert!(!fixture.blob_file(&orphan).exists());
    assert_eq!(fixture.driver.ids().len(), 0);
}

#[test]
fn a_backend_that_does_not_answer_stops_nobody() {
    let timeout = Duration::from_millis(50);
    let fixture = Fixture::with(|config| {
        config.gc = Some(GcConfig { backend_timeout: timeout, startup_delay: Duration::ZERO, ..GcConfig::default() });
    });
    let (store, scope) = (&fixture.store, scope("n"));
    fixture.driver.stuck.store(true, Ordering::SeqCst);
    store.prepare_snapshot(&scope, "test", "a", "", Labels::new()).unwrap();
    store.remove_snapshot(&scope, "test", "a").unwrap();
    let stats = store.collect_garbage().unwrap();
    assert_eq!(stats.snapshots.len(), 0, "not done in time");
    store.prepare_snapshot(&scope, "test", "b", "", labels(&[("containerd.io/gc.root", "x")])).unwrap();
    store.collect_garbage().unwrap();
    fixture.driver.stuck.store(false, Ordering::SeqCst);
    // The call that was left running ends, and a later collection does what is left.
    let end = Instant::now() + Duration::from_secs(180);
    while store.collect_garbage().unwrap().snapshots.is_empty() {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(fixture.driver.ids().len(), 1);
}

#[test]
fn deletes_are_collected_without_being_asked() {
    let fixture = Fixture::with(|config| config.gc = Some(eager()));
    let (store, scope) = (&fixture.store, scope("n"));
    let made = put_blob(store, &scope, b"x", &[("containerd.io/gc.root", "x")]);
    store.delete_blob(&scope, &made).unwrap();
    let end = Instant::now() + Duration::from_secs(180);
    while fixture.blob_file(&made).exists() {
        assert!(Instant::now() < end);
        thread::sleep(Duration::from_millis(5));
    }
}

/// Pulls and removes images from many threads while collections run back to back: no image may ever miss
/// a part of itself, and in the end nothing is left.
#[test]
fn collection_beside_pulls_loses_nothing_and_leaks_nothing() {
    let fixture = Fixture::new();
    let store = &fixture.store;
    let done = Arc::new(AtomicBool::new(false));
    let collections = {
        let (store, done) = (store.clone(), Arc::clone(&done));
        thread::spawn(move || {
            let mut count = 0;
            while !done.load(Ordering::SeqCst) {
                store.collect_garbage().unwrap();
                count += 1;
            }
            count
        })
    };
    thread::scope(|threads| {
        for puller in 0..6 {
            threads.spawn(move || {
                for round in 0..12 {
                    pull_check_and_remove(store, puller, round);
                }
            });
        }
    });
    done.store(true, Ordering::SeqCst);
    assert!(collections.join().unwrap() > 5);
    store.collect_garbage().unwrap();
    assert_eq!(store.list_blobs(&scope("n"), &Filter::all()).unwrap(), []);
    assert_eq!(store.list_snapshots(&scope("n"), "test", &Filter::all()).unwrap(), []);
    assert_eq!(fixture.driver.ids().len(), 0);
    let blobs = fixture.blob_file(&digest(b"")).parent().unwrap().to_owned();
    assert_eq!(std::fs::read_dir(blobs).unwrap().count(), 0);
}

fn pull_check_and_remove(store: &Store, puller: usize, round: usize) {
    let scope = scope("n");
    let lease = format!("lease-{puller}-{round}");
    store.create_lease(&scope, &lease, Labels::new()).unwrap();
    let held = leased("n", &lease);
    // All pull the same layers, and each its own manifest.
    let layers: Vec<Digest> =
        (0..3).map(|layer| ensure_blob(store, &held, format!("layer {layer}").as_bytes(), &[])).collect();
    let snapshot = format!("chain-{puller}-{round}");
    committed(store, &held, &snapshot, "", &[]);
    let mut with = vec![(String::from("containerd.io/gc.ref.snapshot.test"), snapshot.clone())];
    for (at, layer) in layers.iter().enumerate() {
        with.push((format!("containerd.io/gc.ref.content.l.{at}"), layer.to_string()));
    }
    let with: Vec<(&str, &str)> = with.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let manifest = ensure_blob(store, &held, format!("manifest {puller} {round}").as_bytes(), &with);
    let name = format!("image-{puller}-{round}");
    store.create_image(&scope, image(&name, &manifest), None).unwrap();
    store.delete_lease(&scope, &lease).unwrap();
    for _ in 0..3 {
        for digest in layers.iter().chain([&manifest]) {
            let reader =
                store.open_reader(&scope, digest).unwrap_or_else(|error| panic!("{name} lost {digest}: {error}"));
            assert!(reader.size() > 0);
        }
        store.stat_snapshot(&scope, "test", &snapshot).unwrap();
        thread::yield_now();
    }
    store.delete_image(&scope, &name, None).unwrap();
}

/// Writes a blob as a client does that knows what it wants and that others may want it too.
fn ensure_blob(store: &Store, scope: &Scope, bytes: &[u8], with: &[(&str, &str)]) -> Digest {
    let wanted = digest(bytes);
    loop {
        let options = WriterOptions {
            reference: format!("layer-{wanted}"),
            total: bytes.len() as u64,
            expected: Some(wanted.clone()),
            ..WriterOptions::default()
        };
        let mut writer = match store.open_writer(scope, &options) {
            Ok(writer) => writer,
            Err(error) if error.kind() == Kind::AlreadyExists => return wanted,
            Err(error) if error.kind() == Kind::Unavailable => {
                thread::yield_now();
                continue;
            }
            Err(error) => panic!("{error}"),
        };
        if writer.status().offset > 0 && writer.status().offset < bytes.len() as u64 {
            writer.truncate().unwrap();
        }
        if writer.status().offset == 0 {
            writer.write(bytes).unwrap();
        }
        match writer.commit(bytes.len() as u64, Some(&wanted), labels(with)) {
            Ok(_) => return wanted,
            Err(error) if error.kind() == Kind::AlreadyExists => return wanted,
            Err(error) => panic!("{error}"),
        }
    }
}
