//! The engine over real shims, Go's and ours, with runc: as root, and nothing is left behind.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests report by panicking")]

mod bed;
mod crash;
mod lifecycle;
mod many;
mod restart;
mod restart_monitor;
