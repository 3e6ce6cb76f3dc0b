//! `ctr containers checkpoint` and `restore`: known, but their work is not done yet.

use crate::context::Context;
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
    #[allow(clippy::unused_async, reason = "all verbs are called the same way")]
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        context.debug(&format!("arguments: {:?}", self.rest));
        let text = "containers checkpoint and restore are not yet supported (`ctr tasks checkpoint --image-path DIR` \
                    writes a checkpoint, `ctr tasks start` does not read one)";
        Err(Error::unimplemented(text).into())
    }
}
