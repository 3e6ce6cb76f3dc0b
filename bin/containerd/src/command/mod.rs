//! The command line: containerd's flags and subcommands.

mod config;
mod oci_hook;
mod publish;

use crate::{
    config::{DEFAULT_PATH, Flags, Loaded},
    daemon,
    version::{PACKAGE, REVISION, VERSION},
};
use clap::{ArgAction, Args, Parser, Subcommand};
use model::Result;
use std::{
    ffi::{OsStr, OsString},
    path::PathBuf,
};

/// A container runtime daemon: images in, containers running, over containerd's API.
///
/// Without a command the daemon runs in the foreground. A configuration file is read if it is
/// named, or at its default place if it is there; `config default` prints the built-in one.
#[derive(Debug, Parser)]
#[command(name = "containerd", version = version(), disable_version_flag = true, subcommand_negates_reqs = true)]
struct CommandLine {
    #[command(flatten)]
    global: Global,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Args)]
struct Global {
    /// Path to the configuration file [default: /etc/containerd/config.toml]
    #[arg(long, short, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Set the logging level [trace, debug, info, warn, error, fatal, panic]
    #[arg(long, short, value_name = "LEVEL")]
    log_level: Option<String>,
    /// Address for containerd's GRPC server
    #[arg(long, short, value_name = "SOCKET")]
    address: Option<String>,
    /// containerd root directory
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// containerd state directory
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
    /// Print the version
    #[arg(long, short, action = ArgAction::Version)]
    version: Option<bool>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Information on the containerd config
    #[command(subcommand)]
    Config(config::Command),
    /// Publish an event, an encoded `google.protobuf.Any` on standard input, to containerd
    Publish(publish::Publish),
    /// A base for OCI runtime hooks: fills templates in its arguments and environment, and executes them
    OciHook(oci_hook::OciHook),
}

fn version() -> &'static str {
    // clap wants one static text; it prints the program's name before it.
    static TEXT: std::sync::LazyLock<String> = std::sync::LazyLock::new(|| format!("{PACKAGE} {VERSION} {REVISION}"));
    &TEXT
}

/// Flags that Go programs also take with a single dash.
const LONG_FLAGS: [&str; 9] =
    ["config", "log-level", "address", "root", "state", "version", "help", "topic", "namespace"];

/// Go's flag package takes `-address` for `--address`, and scripts rely on it.
fn with_double_dashes(argument: OsString) -> OsString {
    let Some(text) = argument.to_str() else { return argument };
    let name = text.strip_prefix('-').and_then(|rest| rest.split('=').next());
    if name.is_some_and(|name| LONG_FLAGS.contains(&name)) { format!("-{text}").into() } else { argument }
}

/// Runs what the command line asks for.
pub(crate) fn run(arguments: impl Iterator<Item = OsString>) -> Result<()> {
    // The arguments of a hook are somebody else's.
    let mut ours = true;
    let arguments = arguments.map(|argument| {
        ours &= argument != OsStr::new("oci-hook");
        if ours { with_double_dashes(argument) } else { argument }
    });
    let line = CommandLine::parse_from(arguments);
    let global = line.global;
    match line.command {
        Some(Command::Config(command)) => command.run(global.loaded()?),
        Some(Command::Publish(publish)) => publish.run(global.address.as_deref().unwrap_or(DEFAULT_ADDRESS)),
        Some(Command::OciHook(hook)) => hook.run(),
        None => daemon::run(global.loaded()?),
    }
}

const DEFAULT_ADDRESS: &str = "/run/containerd/containerd.sock";

impl Global {
    /// The configuration with our flags applied.
    fn loaded(self) -> Result<Loaded> {
        let path = self.config.as_deref();
        let mut loaded = Loaded::read(path.unwrap_or(DEFAULT_PATH.as_ref()), path.is_some())?;
        let Self { root, state, address, log_level, .. } = self;
        loaded.apply(&Flags { root, state, address, log_level })?;
        Ok(loaded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn the_command_line_is_consistent() {
        CommandLine::command().debug_assert();
    }

    #[test]
    fn single_dashes_are_taken_as_go_does() {
        for (given, expected) in
            [("-address", "--address"), ("-c", "-c"), ("--root", "--root"), ("-root=/x", "--root=/x"), ("-x", "-x")]
        {
            assert_eq!(with_double_dashes(given.into()), OsStr::new(expected));
        }
    }
}
