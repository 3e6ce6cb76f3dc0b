//! `ctr man DIR`

use crate::cli::Cli;
use crate::failure::Outcome;
use clap::{Args, CommandFactory as _};
use model::Error;
use std::path::PathBuf;

/// Flags of `ctr man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Where the pages go, one for each command
    dir: PathBuf,
}

impl Man {
    pub(crate) fn run(self) -> Outcome {
        let failed = |error| Error::io(format!("write manual pages to {}", self.dir.display()), error);
        std::fs::create_dir_all(&self.dir).map_err(failed)?;
        clap_mangen::generate_to(Cli::command(), &self.dir).map_err(failed)?;
        Ok(())
    }
}
