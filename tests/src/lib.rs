//! The harness of the black-box tests: it starts a daemon, ours or Go containerd, under a directory of
//! its own, drives it with `ctr` or over gRPC, and afterwards looks for anything left behind.
//!
//! A test is written once and runs over a [`matrix`] of daemon, shim and ctr. The row of Go programs
//! only is the oracle: a test that Go containerd fails is a wrong test.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a harness reports by panicking"
)]

pub mod api;
pub mod bare;
pub mod bed;
pub mod content;
pub mod ctr;
pub mod daemon;
pub mod execution;
pub mod image;
pub mod layer;
pub mod leaks;
mod matrix;
pub mod memory;
pub mod programs;
pub mod proxy;
pub mod raw;
pub mod registry;
pub mod steps;
pub mod tokens;
pub mod trees;
pub mod vm;

pub use bed::{Bed, Row};
pub use ctr::Ctr;
pub use daemon::Daemon;
pub use programs::Impl;
pub use proxy::Proxy;
pub use registry::Registry;
pub use tokens::Tokens;

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest that anything a test waits for may take. Generous: neither a busy machine nor an emulated one on it, some 20
/// times slower, must fail a test.
pub const PATIENCE: Duration = Duration::from_secs(600);

/// Polls `condition` until it holds; panics naming `what` after [`PATIENCE`].
pub fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "waited {PATIENCE:?} for: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Unmounts what is mounted at `dir`. A process that another thread has just forked may have a copy of what was open in it.
pub fn unmounted(dir: &Path) {
    eventually("umount", || Command::new("umount").arg(dir).status().expect("run umount").success());
}

/// Copies a program to `to`. Were it open for writing here while another thread forks, that child's copy of the
/// descriptor would keep the program from being started (ETXTBSY).
pub fn install(program: &Path, to: &Path) {
    let status = Command::new("install").arg("-m755").arg(program).arg(to).status().expect("run install");
    assert!(status.success(), "install {} ended with {status}", program.display());
}
