//! Black-box tests: a started daemon, driven from outside, on every combination of ours and Go's programs.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "tests report by panicking"
)]

mod bad_content;
mod bad_images;
mod bad_layers;
mod bad_registries;
mod bad_requests;
mod bad_starts;
mod bad_transfers;
mod checkpoint;
mod clients;
mod containers;
mod content;
mod crash;
mod distribution;
mod distribution_ours;
mod distribution_platforms;
mod distribution_private;
mod distribution_verified;
mod docker;
mod events;
mod full_disk;
mod grpc_shim;
mod images;
mod namespaces;
mod pulls;
mod restart;
mod restart_monitor;
mod snapshots;
mod storm;
mod tasks;
mod tasks_exec;
mod tasks_unruly;
mod transfer;
mod trees;
mod unprivileged;
