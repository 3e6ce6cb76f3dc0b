//! `ctr containers restore`

use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use model::Error;

/// Flags of `ctr containers restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Whatever was given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

impl Restore {
    #[allow(clippy::unused_async, reason = "all verbs are called the same way")]
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        context.debug(&format!("arguments: {:?}", self.rest));
        let text =
            "containers restore is not yet supported (`ctr tasks checkpoint --image-path DIR` writes a checkpoint)";
        Err(Error::unimplemented(text).into())
    }
}
