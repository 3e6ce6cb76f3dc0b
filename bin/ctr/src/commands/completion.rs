//! `ctr completion SHELL`

use crate::cli::Cli;
use crate::failure::Outcome;
use crate::output;
use clap::{Args, CommandFactory as _};
use clap_complete::{Shell, generate};

/// Flags of `ctr completion`.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell to write for
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self) -> Outcome {
        let mut script = Vec::new();
        generate(self.shell, &mut Cli::command(), "ctr", &mut script);
        output::print(&String::from_utf8_lossy(&script))
    }
}
