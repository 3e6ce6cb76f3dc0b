//! Commands of Go's ctr that this one does not have: refused by name, so that nobody looks for a mistake of his own.

use crate::failure::Outcome;
use clap::Args;
use model::Error;

/// Whatever was given.
#[derive(Debug, Args)]
pub(crate) struct Absent {
    /// Whatever was given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

impl Absent {
    /// Refuses `command`, and says what there is instead.
    pub(super) fn refuse(&self, command: &str, instead: &str) -> Outcome {
        let given = [&[command.to_owned()], &self.rest[..]].concat().join(" ");
        Err(Error::unimplemented(format!("ctr {given}: {command} is not supported: {instead}")).into())
    }
}
