//! A short run of every fuzz target: the same inputs each time, so that a failure can be repeated.
//! `FUZZ_TIMES=50 cargo test -p fuzz` makes it fifty times as long.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use fuzz::{TARGETS, Target, mutate::Mutator};
use std::panic;

/// Runs `name` on its seeds and on `count` mutations of them.
fn run(name: &str, count: u64) {
    let target: Target = *TARGETS.iter().find(|target| target.name == name).unwrap();
    let seeds = (target.seeds)();
    let check = |input: &[u8], what: String| {
        if panic::catch_unwind(|| (target.run)(input)).is_err() {
            panic!("{name}: {what}: {:?}", input.escape_ascii().to_string());
        }
    };
    for (index, seed) in seeds.iter().enumerate() {
        check(seed, format!("seed {index}"));
    }
    let times: u64 = std::env::var("FUZZ_TIMES").ok().and_then(|times| times.parse().ok()).unwrap_or(1);
    for number in 0..count * times {
        let input = Mutator::new(number).mutate(&seeds, target.words);
        check(&input, format!("mutation {number}"));
    }
}

#[test]
fn config() {
    run("config", 1500);
}

#[test]
fn filter() {
    run("filter", 10_000);
}

#[test]
fn manifest() {
    run("manifest", 10_000);
}

#[test]
fn reference() {
    run("reference", 10_000);
}

#[test]
fn tar_apply() {
    run("tar_apply", 1500);
}

#[test]
fn ttrpc() {
    run("ttrpc", 10_000);
}
