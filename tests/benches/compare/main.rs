//! Measures our daemon beside Go containerd, in one run, one after the other, and prints the ratios.
//!
//! `cargo bench -p tests --bench compare [-- NAME...]` runs all, or those whose name contains a NAME;
//! `make bench` prepares what it needs. `docs/benchmarks.md` says what the figures mean.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark prints, and reports failures by panicking"
)]

mod cost;
mod disk;
mod floor;
mod ingest;
mod list;
mod memory;
mod pull;
mod scale;
mod table;
mod task;
mod unpack;
mod way;

use disk::Disk;
use table::Table;
use tests::{Daemon, Impl};

/// Both sides, in the order in which rounds take them.
const SIDES: [Impl; 2] = [Impl::Ours, Impl::Go];

/// One benchmark: its name and what measures it.
type Benchmark = (&'static str, fn(&mut Table));

const BENCHMARKS: [Benchmark; 8] = [
    ("memory", memory::run),
    ("unpack", unpack::run),
    ("pull", pull::run),
    ("ingest", ingest::run),
    ("list", list::run),
    ("task", task::run),
    ("shim", memory::shims),
    ("scale", scale::run),
];

/// A daemon with its own shim and nothing but the defaults.
fn daemon(side: Impl) -> Daemon {
    Daemon::configured(side, side, "")
}

fn main() {
    let wanted: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with('-')).collect();
    let disk = Disk::new(&tests::programs::target_dir());
    tempfile::env::override_temp_dir(disk.path()).expect("the first to choose");
    let mut table = Table::default();
    for (name, benchmark) in BENCHMARKS {
        if wanted.is_empty() || wanted.iter().any(|want| name.contains(want.as_str())) {
            eprintln!("measuring: {name}");
            benchmark(&mut table);
        }
    }
    table.print();
}
