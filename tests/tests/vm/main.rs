//! Tests that need a machine of their own: `make test-vm` makes what they use.
#![allow(clippy::expect_used, reason = "tests report by panicking")]

mod cgroup2;
mod power_cut;
