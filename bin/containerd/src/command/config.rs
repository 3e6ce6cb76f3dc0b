//! `containerd config`: prints the built-in, the effective or the migrated configuration.

use crate::config::Loaded;
use clap::Subcommand;
use model::{Error, Result};
use std::io::{self, Write as _};

/// What to print.
#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// See the output of the default config
    Default,
    /// See the output of the final main config with imported in subconfig files
    Dump,
    /// Migrate the current configuration file to the latest version
    Migrate,
}

impl Command {
    /// Prints it, with unknown keys reported on standard error.
    pub(super) fn run(&self, loaded: Loaded) -> Result<()> {
        let shown = match self {
            Self::Default => Loaded::defaults()?,
            Self::Dump | Self::Migrate => loaded,
        };
        for warning in &shown.warnings {
            let (file, line, key) = (warning.file.display(), warning.line, &warning.key);
            let _ = writeln!(io::stderr(), "containerd: {file}:{line}: unknown key {key} ignored");
        }
        write!(io::stdout(), "{}", shown.render()).map_err(|error| Error::io("print configuration", error))
    }
}
