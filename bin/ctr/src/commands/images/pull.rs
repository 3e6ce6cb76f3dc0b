//! `ctr images pull`, `push` and `convert`: known, but their work is not done yet.

use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use model::Error;

/// Whatever was given.
#[derive(Debug, Args)]
pub(crate) struct Registry {
    /// Whatever was given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

impl Registry {
    #[allow(clippy::unused_async, reason = "all verbs are called the same way")]
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        context.debug(&format!("arguments: {:?}", self.rest));
        let text = "images pull, push and convert are not yet supported: bring images in with \
                    `ctr images import FILE` (a file from `docker save` or `skopeo copy docker://NAME oci-archive:FILE`)";
        Err(Error::unimplemented(text).into())
    }
}
