//! The store through its public API, on a real directory.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod content;
mod crash;
mod gc;
mod layers;
mod listing;
mod records;
mod snapshots;
mod support;
