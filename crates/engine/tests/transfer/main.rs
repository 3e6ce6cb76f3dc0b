//! Transfers between a store and registries: Debian's docker-registry, and one that misbehaves as told.
#![allow(unreachable_pub, dead_code, reason = "modules of one test")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::needless_pass_by_value,
    reason = "tests report by panicking, and read better with plain arguments"
)]

mod bed;
mod fake;
mod flights;
mod image;
mod pull;
mod push;
#[path = "../../../distribution/tests/support/mod.rs"]
mod registry;
mod slow;
mod trees;
mod trouble;
mod uploads;
