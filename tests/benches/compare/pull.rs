//! Pulls with unpacking, and pushes, from and to one docker-registry on loopback: time on the wall, processor time of
//! the daemon and its client, and the daemon's memory at its highest.

use crate::{
    cost::{Cost, images, images_at_once, seconds_of, warm},
    floor,
    table::Table,
    way::{BEST, DEFAULT, LOCAL, Way},
};
use std::{
    fs,
    path::{Path, PathBuf},
};
use tests::{Daemon, Impl, Registry, memory};

const ROUNDS: usize = 3;

/// An image of the registry, and how much of Go's time on the wall and processor time we may take.
type Image = (&'static str, f64, Option<f64>);

const IMAGES: [Image; 3] = [("ten", 0.4, Some(0.4)), ("forty", 0.35, None), ("one", 0.6, None)];

pub(crate) fn run(table: &mut Table) {
    let folder = tests::programs::target_dir().join("bench-registry");
    assert!(folder.join("registry/done").exists(), "`make bench` makes {}", folder.display());
    let registry = Registry::over(&folder);
    for image in IMAGES {
        for _ in 0..ROUNDS {
            for way in [DEFAULT, LOCAL, BEST] {
                for side in crate::SIDES {
                    let daemon = way.daemon(side);
                    pull(table, &registry, &folder, &daemon, image, way, side);
                    if image.0 == "ten" && way.name != BEST.name {
                        push(table, &registry, &daemon, way, side);
                    }
                }
            }
            bare(table, &folder, image.0);
            if image.0 == "ten" {
                bare_push(table, &folder, image.0);
            }
        }
    }
    for _ in 0..ROUNDS {
        for side in crate::SIDES {
            pull_at_once(table, &registry, &folder, side);
        }
    }
}

/// Pulls ten images at once that share the layers of `ten`.
fn pull_at_once(table: &mut Table, registry: &Registry, folder: &Path, side: Impl) {
    let daemon = DEFAULT.daemon(side);
    rustix::fs::sync();
    warm(folder);
    memory::forget_peak(daemon.pid());
    let rest = memory::rss(daemon.pid());
    let references: Vec<String> = (0..10).map(|own| registry.name(&format!("bench:shared-{own}"))).collect();
    let pulls: Vec<_> = references.iter().map(|reference| ["pull", "--plain-http", reference]).collect();
    let pulls: Vec<_> = pulls.iter().map(<[_; 3]>::as_slice).collect();
    let serving = seconds_of(registry.pid());
    let (cost, name) = (images_at_once(&daemon, side, &pulls), "pull + unpack ten images at once");
    add(table, side, name, cost, None, None);
    let served = seconds_of(registry.pid()) - serving;
    table.add(side, &format!("{name}, user+sys of the registry meanwhile"), "s", None, served);
    let above = memory::peak(daemon.pid()).saturating_sub(rest);
    table.add(side, &format!("{name}, daemon's peak above rest, RSS"), "MB", None, above as f64 / 1e6);
}

/// Pulls from a registry that has all of it in the page cache.
fn pull(
    table: &mut Table,
    registry: &Registry,
    folder: &Path,
    daemon: &Daemon,
    (image, wall, cpu): Image,
    way: Way,
    side: Impl,
) {
    rustix::fs::sync();
    warm(folder);
    memory::forget_peak(daemon.pid());
    let rest = memory::rss(daemon.pid());
    let serving = seconds_of(registry.pid());
    let reference = registry.name(&format!("bench:{image}"));
    let cost = images(daemon, side, &[&["pull", "--plain-http"], way.flags, &[&reference]].concat());
    let name = format!("pull + unpack {image}{}", way.name);
    add(table, side, &name, cost, Some(wall), cpu);
    if way.name == DEFAULT.name {
        let served = seconds_of(registry.pid()) - serving;
        table.add(side, &format!("{name}, user+sys of the registry meanwhile"), "s", None, served);
        let above = memory::peak(daemon.pid()).saturating_sub(rest);
        table.add(side, &format!("{name}, daemon's peak above rest, RSS"), "MB", None, above as f64 / 1e6);
    }
}

/// Pushes what was pulled into a registry that has none of it.
fn push(table: &mut Table, from: &Registry, daemon: &Daemon, way: Way, side: Impl) {
    rustix::fs::sync();
    warm(&daemon.root().join("io.containerd.content.v1.content/blobs"));
    let empty = Registry::open();
    let (there, here) = (empty.name("pushed:1"), from.name("bench:ten"));
    let serving = seconds_of(empty.pid());
    let cost = images(daemon, side, &[&["push", "--plain-http"], way.flags, &[&there, &here]].concat());
    let (name, served) = (format!("push ten{}", way.name), seconds_of(empty.pid()) - serving);
    add(table, side, &name, cost, Some(0.6), None);
    table.add(side, &format!("{name}, user+sys of the registry meanwhile"), "s", None, served);
}

fn add(table: &mut Table, side: Impl, what: &str, cost: Cost, wall: Option<f64>, cpu: Option<f64>) {
    table.add(side, &format!("{what}, wall"), "s", wall, cost.wall);
    table.add(side, &format!("{what}, user+sys of daemon and ctr"), "s", cpu, cost.cpu);
}

/// The same bytes through nothing but what has to be done with them.
fn bare(table: &mut Table, folder: &Path, image: &str) {
    let layers = layers(folder, image);
    let target = tempfile::Builder::new().prefix("floor-").tempdir().expect("make a temporary directory");
    rustix::fs::sync();
    layers.iter().for_each(|layer| warm(layer));
    let cost = floor::unpack(&layers, target.path());
    table.add_bare(&format!("the floor of {image}, wall"), "s", cost.wall);
    table.add_bare(&format!("the floor of {image}, user+sys"), "s", cost.cpu);
}

/// The same layers into a registry that has none of them, by somebody for whom that is no work.
fn bare_push(table: &mut Table, folder: &Path, image: &str) {
    let layers = layers(folder, image);
    rustix::fs::sync();
    layers.iter().for_each(|layer| warm(layer));
    let empty = Registry::open();
    let serving = seconds_of(empty.pid());
    let cost = floor::push(&layers, empty.address());
    table.add_bare(&format!("the floor of a push of {image}, wall"), "s", cost.wall);
    table.add_bare(&format!("the floor of a push of {image}, user+sys"), "s", cost.cpu);
    let served = seconds_of(empty.pid()) - serving;
    table.add_bare(&format!("the floor of a push of {image}, user+sys of the registry meanwhile"), "s", served);
}

/// Where the registry has the layers of an image.
fn layers(folder: &Path, image: &str) -> Vec<PathBuf> {
    let storage = folder.join("registry/docker/registry/v2");
    let blob = |digest: &str| {
        let hex = digest.trim_start_matches("sha256:");
        storage.join("blobs/sha256").join(&hex[..2]).join(hex).join("data")
    };
    let link = storage.join(format!("repositories/bench/_manifests/tags/{image}/current/link"));
    let manifest = blob(&fs::read_to_string(link).expect("the tag"));
    let manifest = serde_json::from_slice(&fs::read(manifest).expect("the manifest"));
    let manifest: serde_json::Value = manifest.expect("JSON");
    let layers = manifest["layers"].as_array().expect("an image");
    layers.iter().map(|layer| blob(layer["digest"].as_str().expect("a digest"))).collect()
}
