//! Import with unpacking, and export, of a real image.

use crate::{
    cost::{Cost, images, warm},
    table::Table,
    way::{BEST, DEFAULT, LOCAL, Way},
};
use std::path::Path;
use tests::{Daemon, Impl, memory};

const ROUNDS: usize = 3;

/// The image's name, in the archive.
const IMAGE: &str = "bench.example/debian:trees";

pub(crate) fn run(table: &mut Table) {
    let archive = tests::programs::target_dir().join("bench-image/image.tar");
    assert!(archive.exists(), "{} does not exist: `make bench` makes it", archive.display());
    for _ in 0..ROUNDS {
        for way in [DEFAULT, LOCAL, BEST] {
            for side in crate::SIDES {
                let daemon = way.daemon(side);
                add(table, side, "import + unpack", way, import(&daemon, side, &archive, way));
                if way.name == LOCAL.name {
                    let pss = memory::settled_pss(daemon.pid()) as f64 / 1e6;
                    table.add(side, "daemon after the import, PSS", "MB", Some(0.5), pss);
                }
                // Nothing is decompressed in an export.
                if way.name != BEST.name {
                    add(table, side, "export", way, export(&daemon, side, way));
                }
            }
        }
    }
}

fn add(table: &mut Table, side: Impl, what: &str, way: Way, cost: Cost) {
    let name = way.name;
    table.add(side, &format!("{what}{name}, wall"), "s", Some(0.5), cost.wall);
    table.add(side, &format!("{what}{name}, user+sys of daemon and ctr"), "s", Some(0.5), cost.cpu);
}

/// Both read the archive from the page cache, and neither pays for what the other wrote.
fn import(daemon: &Daemon, side: Impl, archive: &Path, way: Way) -> Cost {
    rustix::fs::sync();
    warm(archive);
    let archive = archive.to_str().expect("a path in UTF-8");
    images(daemon, side, &[&["import"], way.flags, &[archive]].concat())
}

/// Both read the blobs from the page cache, and neither syncs what it writes.
fn export(daemon: &Daemon, side: Impl, way: Way) -> Cost {
    rustix::fs::sync();
    warm(&daemon.root().join("io.containerd.content.v1.content/blobs"));
    let archive = daemon.dir().join("exported.tar");
    let archive = archive.to_str().expect("a path in UTF-8");
    images(daemon, side, &[&["export"], way.flags, &[archive, IMAGE]].concat())
}
