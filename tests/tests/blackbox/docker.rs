//! Docker's engine, unmodified, on the daemon: with its own image store and with containerd's.
//!
//! Without networks: the test must not touch the machine's.

mod engine;
mod forward;

use std::fs;

use engine::Docker;
use tests::image::busybox;
use tests::{Bed, Registry, eventually, matrix};

matrix! { shims: own_images, containerd_images }
matrix! { wire: registry_with_own_images, registry_with_containerd_images }

const IMAGE: &str = "example.com/test/busybox:1";

/// What a user of docker does in a day, a crash of the daemon included.
fn a_day(bed: &mut Bed, flags: &[&str]) {
    let docker = Docker::start(bed, flags);
    let loaded = docker.feed(&["load"], &busybox(IMAGE).docker_archive());
    assert!(loaded.stdout.contains(IMAGE), "{loaded:?}\n{}", docker.log());
    let out = docker.run(&["run", "--rm", "--network=none", IMAGE, "sh", "-c", "echo out; echo err >&2; exit 3"]);
    assert_eq!((out.code, out.stdout.as_str(), out.stderr.as_str()), (3, "out\n", "err\n"), "{}", docker.log());
    let script = "echo started; trap 'exit 5' TERM; while :; do sleep 0.1; done";
    docker.ok(&["run", "-d", "--name=long", "--network=none", "--memory=64m", IMAGE, "sh", "-c", script]);
    assert_eq!(docker.ok(&["exec", "-e", "WHO=me", "long", "sh", "-c", "echo $WHO; cat /etc/motd"]), "me\nlast\n");
    docker.ok(&["pause", "long"]);
    assert!(docker.ok(&["ps"]).contains("(Paused)"));
    docker.ok(&["unpause", "long"]);
    let stats = docker.ok(&["stats", "--no-stream", "--format={{.MemUsage}}", "long"]);
    assert!(stats.contains("64MiB"), "{stats}");
    docker.ok(&["update", "--memory=32m", "--memory-swap=32m", "long"]);
    let pid = docker.ok(&["inspect", "--format={{.State.Pid}}", "long"]);
    bed.daemon.kill();
    bed.daemon.restart();
    eventually("dockerd to be back", || docker.within(60, &["exec", "long", "true"], b"").code == 0);
    assert_eq!(docker.ok(&["inspect", "--format={{.State.Pid}}", "long"]), pid, "it ran on");
    docker.ok(&["stop", "--time=300", "long"]);
    assert_eq!(docker.ok(&["inspect", "--format={{.State.ExitCode}}", "long"]), "5\n");
    assert_eq!(docker.ok(&["logs", "long"]), "started\n");
    docker.ok(&["start", "long"]);
    docker.ok(&["kill", "long"]);
    assert_eq!(docker.ok(&["wait", "long"]), "137\n");
    docker.ok(&["rm", "long"]);
    docker.ok(&["run", "--name=changed", "--network=none", IMAGE, "sh", "-c", "echo new > /etc/motd"]);
    docker.ok(&["commit", "changed", "example.com/test/changed:1"]);
    assert_eq!(
        docker.ok(&["run", "--rm", "--network=none", "example.com/test/changed:1", "cat", "/etc/motd"]),
        "new\n"
    );
    docker.ok(&["rm", "changed"]);
    docker.ok(&["rmi", "example.com/test/changed:1", IMAGE]);
    assert!(docker.ok(&["images", "-q"]).is_empty());
    docker.stop();
}

/// Pushes, pulls and builds, by the builder that is in dockerd.
fn registry_and_builder(bed: &Bed, flags: &[&str]) {
    let registry = Registry::open();
    let docker = Docker::start(bed, flags);
    let _reached = docker.reaches(registry.address().parse().unwrap());
    let (base, built) = (registry.name("test/busybox:1"), registry.name("test/built:1"));
    docker.feed(&["load"], &busybox(&base).docker_archive());
    docker.ok(&["push", &base]);
    docker.ok(&["rmi", &base]);
    docker.ok(&["pull", &base]);
    let context = bed.daemon.dir().join("context");
    fs::create_dir_all(&context).unwrap();
    fs::write(context.join("file"), "copied\n").unwrap();
    fs::write(
        context.join("Dockerfile"),
        format!("FROM {base}\nCOPY file /file\nRUN cat /file /etc/motd > /both\nCMD [\"cat\", \"/both\"]\n"),
    )
    .unwrap();
    docker.ok(&["build", "--network=none", "--tag", &built, &context.display().to_string()]);
    docker.ok(&["push", &built]);
    docker.ok(&["rmi", &built]);
    assert_eq!(docker.ok(&["run", "--rm", "--network=none", &built]), "copied\nlast\n", "pulled by docker run");
    assert_eq!(
        registry.inspect("test/built:1")["Layers"].as_array().map(Vec::len),
        Some(5),
        "three of the base and two new ones"
    );
    docker.ok(&["rmi", &built, &base]);
    docker.ok(&["builder", "prune", "--all", "--force"]);
    docker.stop();
}

const OWN: [&str; 2] = ["--storage-driver=overlay2", "--feature=containerd-snapshotter=false"];
const CONTAINERD: [&str; 2] = ["--storage-driver=overlayfs", "--feature=containerd-snapshotter=true"];

fn own_images(bed: &mut Bed) {
    a_day(bed, &OWN);
}

fn containerd_images(bed: &mut Bed) {
    a_day(bed, &CONTAINERD);
}

fn registry_with_own_images(bed: &mut Bed) {
    registry_and_builder(bed, &OWN);
}

fn registry_with_containerd_images(bed: &mut Bed) {
    registry_and_builder(bed, &CONTAINERD);
}
