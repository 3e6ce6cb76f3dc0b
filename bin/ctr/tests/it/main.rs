//! `ctr` as a process, on a daemon of its own: what it makes of good and bad archives, and whether it prints what
//! Go's ctr prints. The suite in `tests/` covers the rest, with both clients.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a failed step is a failed test")]

mod bad_archives;
mod content;
mod errors;
mod like_go;
mod naming;

use std::path::PathBuf;
use tests::{Ctr, Daemon, Impl, programs};

/// Whether Go's programs are there: `$CONTAINERD_PEERS`, or where `make test` puts them.
fn has_go() -> bool {
    let peers =
        std::env::var_os("CONTAINERD_PEERS").map_or_else(|| programs::target_dir().join("peers"), PathBuf::from);
    peers.join("usr/bin/containerd").exists()
}

/// Go's daemon if it is there, else ours: what is tested here is the client.
fn daemon() -> Daemon {
    let which = if has_go() { Impl::Go } else { Impl::Ours };
    Daemon::start(which, which)
}

/// Runs a test with our ctr on a daemon, which must have nothing left over afterwards.
fn with_ctr(test: impl FnOnce(&Daemon, &Ctr)) {
    let daemon = daemon();
    test(&daemon, &daemon.ctr(Impl::Ours));
    daemon.finish();
}
