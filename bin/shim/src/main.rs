//! `containerd-shim-runc-v2`: one small process that supervises the containers of a pod.
//!
//! containerd calls it in four ways: `-v`, `-info`, `start` (which leaves the long-lived
//! supervisor behind and prints its socket) and `delete` (which cleans up after a
//! supervisor that died). The supervisor itself is one thread around one epoll set: it
//! never waits for anything else, so runc runs as child processes whose end continues
//! the request (see `shim`). It survives the daemon; all they share is the ttrpc socket
//! and the bundle directory, both in containerd's own format.

mod bootstrap;
mod delete;
mod events;
mod flags;
mod identity;
mod info;
mod io;
mod log;
mod options;
mod rootfs;
mod runc;
mod shim;
mod socket;
mod spec;
mod start;
mod stats;
mod task;

use std::process::ExitCode;

/// Held alone by tests that start a program, and together by those that want a last descriptor closed: from its fork to its
/// exec a child has a copy of all.
#[cfg(test)]
static FORKING: std::sync::RwLock<()> = std::sync::RwLock::new(());

/// The runtime this binary serves, in containerd's terms.
const RUNTIME: &str = "io.containerd.runc.v2";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // containerd shows the caller what a failed shim wrote here.
            log::stderr(&format!("{RUNTIME}: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run() -> model::Result<()> {
    let flags = flags::Flags::parse(std::env::args_os().skip(1))?;
    if flags.version {
        return info::print_version();
    }
    if flags.info {
        return info::print_info();
    }
    let identity = identity::Identity::new(&flags)?;
    match flags.action.as_deref() {
        Some("start") => start::run(&identity),
        Some("delete") => delete::run(&identity),
        // Go's shim serves for any other word too; a typing error is better refused.
        Some(other) => Err(model::Error::invalid_argument(format!("unknown action {other:?}"))),
        None => shim::serve(&identity, flags.socket.as_deref()),
    }
}
