//! Tests that need a machine of their own: `make test-vm` makes what they use.
#![allow(clippy::expect_used, reason = "tests report by panicking")]

mod cgroup2;
mod execution;
mod power_cut;

/// Debian's crun is older than the version of the OCI spec that `ctr` writes, and refuses it unseen.
const OLD_CRUN: &str = r#"#!/bin/sh
[ -e config.json ] && sed -i 's/"ociVersion":"[^"]*"/"ociVersion":"1.0.2"/' config.json
exec /bin/crun "$@"
"#;
