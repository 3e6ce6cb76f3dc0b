//! Fuzz targets for everything that reads what others wrote. None may panic, hang, or break the rule its module states.
//!
//! Each target is a function of bytes and a set of seeds. `cargo test -p fuzz` runs every target on mutations of its
//! seeds, the same ones each time; `make fuzz` hands them to libFuzzer, which needs nightly Rust and cargo-fuzz.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a target fails by panicking")]

pub mod config;
pub mod filter;
pub mod manifest;
pub mod mutate;
pub mod reference;
pub mod tar_apply;
pub mod ttrpc;

/// Something to feed with bytes.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Name of the target and of its program.
    pub name: &'static str,
    /// Inputs to start from.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Strings that mean something to it.
    pub words: &'static [&'static str],
    /// Runs it; panics if a rule is broken.
    pub run: fn(&[u8]),
}

/// All targets.
pub const TARGETS: [Target; 6] =
    [config::TARGET, filter::TARGET, manifest::TARGET, reference::TARGET, tar_apply::TARGET, ttrpc::TARGET];

fn seeds(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
