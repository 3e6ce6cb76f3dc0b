//! `kill -9` of the daemon in the middle of things: after a restart nothing acknowledged is lost, and nothing
//! that was not is in the way or takes space once its leases are gone.

use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Mutex;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::bed::BUSYBOX;
use tests::image::{Image, busybox, digest};
use tests::layer::Layer;
use tests::leaks::entries;
use tests::{Bed, Impl, matrix};

matrix! { wire: blobs_while_writing, import, collection, container_start }

/// How long the victim gets before it is killed: early, in the middle, late.
const DELAYS: [u64; 6] = [5, 20, 45, 80, 130, 220];

/// Bytes that do not compress, different for each seed.
pub(crate) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).flatten().take(len).collect()
}

fn blobs_while_writing(bed: &mut Bed) {
    let acknowledged = Mutex::new(Vec::new());
    for (round, delay) in DELAYS.iter().enumerate() {
        let daemon = &mut bed.daemon;
        let (socket, namespace) = (daemon.socket(), daemon.namespace().to_owned());
        std::thread::scope(|scope| {
            let before = acknowledged.lock().unwrap().len();
            for writer in 0..4_u64 {
                let mut api = tests::api::Api::connect(&socket, &namespace);
                api.hold_lease(&format!("writer-{round}-{writer}"));
                let acknowledged = &acknowledged;
                scope.spawn(move || {
                    for count in 0.. {
                        let bytes = noise(round as u64 * 1_000_000 + writer * 10_000 + count, 20_000);
                        match api.ingest(&format!("{round}-{writer}-{count}"), &bytes) {
                            Ok(digest) => acknowledged.lock().unwrap().push((digest, bytes)),
                            Err(_) => break,
                        }
                    }
                });
            }
            tests::eventually("some blobs to be written", || acknowledged.lock().unwrap().len() >= before + 4);
            sleep(Duration::from_millis(*delay));
            daemon.kill();
        });
        daemon.restart();
    }
    let acknowledged = acknowledged.into_inner().unwrap();
    let listed = bed.ctr().ok("content ls -q");
    for (digest, bytes) in &acknowledged {
        assert!(listed.contains(digest.as_str()), "{digest} was acknowledged and is not there");
        assert!(std::fs::read(blob(bed, digest)).unwrap() == *bytes, "{digest} is damaged");
    }
    let names = entries(&blobs(bed));
    for path in &names {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        assert_eq!(digest(&std::fs::read(path).unwrap()), format!("sha256:{name}"), "a blob in place is whole");
    }
    empty_when_released(bed);
}

fn import(bed: &mut Bed) {
    bed.import();
    let mut image = busybox("example.com/test/big:1");
    for layer in 0..4 {
        image.layers.push(Layer::new().file(&format!("noise{layer}"), 0o644, &noise(layer, 3 << 20)).finish());
    }
    let archive = write(bed, &image);
    for delay in DELAYS {
        let mut ctr = spawn(bed, &format!("images import --local {archive}"));
        sleep(Duration::from_millis(delay));
        bed.daemon.kill();
        let acknowledged = succeeded(&mut ctr);
        bed.daemon.restart();
        whole(bed, BUSYBOX);
        if acknowledged {
            whole(bed, &image.name);
            bed.ctr().ok(&format!("images rm --sync {}", image.name));
        }
    }
    bed.ctr().ok(&format!("images import --local {archive}"));
    whole(bed, &image.name);
    empty_when_released(bed);
}

fn collection(bed: &mut Bed) {
    bed.import();
    let garbage: Vec<Image> = (0..6)
        .map(|seed| {
            let mut image = busybox(&format!("example.com/garbage:{seed}"));
            let files = (0..200).fold(Layer::new(), |layer, n| layer.file(&format!("f{n}"), 0o644, &noise(seed, 2000)));
            image.layers.push(files.finish());
            image
        })
        .collect();
    for (image, delay) in garbage.iter().zip([1, 3, 6, 12, 25, 50]) {
        bed.ctr().ok(&format!("images import --local {}", write(bed, image)));
        let mut ctr = spawn(bed, &format!("images rm --sync {}", image.name));
        sleep(Duration::from_millis(15 + delay));
        bed.daemon.kill();
        succeeded(&mut ctr);
        bed.daemon.restart();
        whole(bed, BUSYBOX);
    }
    empty_when_released(bed);
}

fn container_start(bed: &mut Bed) {
    bed.import();
    for (round, delay) in [20, 60, 90, 120, 150, 190, 240, 300].into_iter().enumerate() {
        let id = format!("box{round}");
        let mut ctr = spawn(bed, &format!("run -d {BUSYBOX} {id} sleep 1000"));
        sleep(Duration::from_millis(delay));
        bed.daemon.kill();
        let acknowledged = succeeded(&mut ctr);
        if bed.row.daemon == Impl::Go {
            // Go does not look for a shim that is only being started, so that it would be nobody's.
            let starting = |what: &String| what.starts_with("process") && what.trim_end().ends_with(" start");
            let found = || bed.daemon.traces().found();
            tests::eventually("shims to have started", || !found().iter().any(starting));
        }
        bed.daemon.restart();
        let ctr = bed.ctr();
        let tasks = ctr.ok("tasks ls");
        assert!(!acknowledged || tasks.contains("RUNNING"), "an acknowledged start is running: {tasks}");
        drop(ctr.run(&format!("tasks rm -f {id}")));
        drop(ctr.run(&format!("containers rm {id}")));
        drop(ctr.run(&format!("snapshots rm {id}")));
        // The id is free again.
        ctr.says(&format!("run --rm {BUSYBOX} {id} echo again"), "again\n");
    }
    empty_when_released(bed);
}

/// A ctr whose fate does not matter to the test.
fn spawn(bed: &Bed, line: &str) -> Child {
    bed.ctr().command(line).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

/// Whether a ctr that has lost its daemon had been answered. One that goes on trying to connect is ended.
fn succeeded(ctr: &mut Child) -> bool {
    for _ in 0..20 {
        if let Some(status) = ctr.try_wait().unwrap() {
            return status.success();
        }
        sleep(Duration::from_millis(10));
    }
    // timeout(1) passes the signal on.
    kill_process(Pid::from_child(ctr), Signal::TERM).unwrap();
    ctr.wait().unwrap();
    false
}

fn write(bed: &Bed, image: &Image) -> String {
    let path = bed.daemon.dir().join("image.tar");
    std::fs::write(&path, image.oci_archive()).unwrap();
    path.display().to_string()
}

/// The image is complete, unpacked, and its files are its files.
fn whole(bed: &Bed, image: &str) {
    let ctr = bed.ctr();
    let check = ctr.ok(&format!("images check name=={image}"));
    let row = check.lines().nth(1).unwrap_or_default();
    assert!(row.contains("complete") && !row.contains("incomplete") && row.trim_end().ends_with("true"), "{check}");
    ctr.says(&format!("run --rm {image} look cat /etc/motd"), "last\n");
}

/// Drops every image and lease and checks that the store is empty on disk.
fn empty_when_released(bed: &Bed) {
    let ctr = bed.ctr();
    for image in ctr.ok("images ls -q").lines() {
        ctr.ok(&format!("images rm --sync {image}"));
    }
    for lease in ctr.ok("leases ls -q").lines() {
        ctr.ok(&format!("leases rm --sync {lease}"));
    }
    ctr.ok("leases create --id last");
    ctr.ok("leases rm --sync last");
    assert_eq!((ctr.ok("content ls -q"), ctr.names("snapshots ls")), (String::new(), vec![]));
    let root = bed.daemon.root();
    let left = |dir: &str| entries(&root.join(dir));
    let ingests = "io.containerd.content.v1.content/ingest";
    let dirs = ["io.containerd.content.v1.content/blobs/sha256", "io.containerd.snapshotter.v1.overlayfs/snapshots"];
    // Go forgets an ingest that was killed between making its directory and writing its ref.
    for dir in dirs.into_iter().chain((bed.row.daemon == Impl::Ours).then_some(ingests)) {
        tests::eventually(&format!("{dir} to be empty, it has {:?}", left(dir)), || left(dir).is_empty());
    }
}

fn blobs(bed: &Bed) -> std::path::PathBuf {
    bed.daemon.root().join("io.containerd.content.v1.content/blobs/sha256")
}

fn blob(bed: &Bed, digest: &str) -> std::path::PathBuf {
    blobs(bed).join(Path::new(&digest[7..]))
}
