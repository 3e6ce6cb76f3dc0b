//! The containerd daemon: an image in, a container running, over containerd's own API.

mod command;
mod config;
mod daemon;
mod directories;
mod dump;
mod grpc;
mod identity;
mod log;
mod memory;
mod plugins;
mod snapshotters;
mod socket;
mod systemd;
mod transfers;
mod version;

use std::{
    env,
    io::{self, Write as _},
    process::ExitCode,
};

fn main() -> ExitCode {
    sys::malloc::keep_little();
    match command::run(env::args_os()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nothing is left to do if even this cannot be written.
            let _ = writeln!(io::stderr(), "containerd: {error}");
            ExitCode::FAILURE
        }
    }
}
