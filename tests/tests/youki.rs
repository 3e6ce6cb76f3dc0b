//! The execution tests with youki as the runtime, on this machine's cgroups. `scripts/youki.sh` builds it.
#![allow(clippy::unwrap_used, reason = "tests report by panicking")]

use std::process::Command;

use tests::execution::{self, Extent};
use tests::programs;

#[test]
fn execution() {
    let binary = execution::binary();
    let names = execution::names(&binary, Extent::wanted(Extent::Ours));
    assert!(!names.is_empty());
    let youki = programs::youki();
    let status =
        Command::new(binary).arg("--exact").args(names).env("CONTAINERD_TEST_RUNTIME", youki).status().unwrap();
    assert!(status.success(), "{status}");
}
