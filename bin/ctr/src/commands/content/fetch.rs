//! `ctr content fetch`, `fetch-object`, `fetch-blob` and `push-object`: what needs a registry.

use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use model::Error;

/// Whatever was given.
#[derive(Debug, Args)]
pub(crate) struct Fetch {
    /// Whatever was given
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, hide = true)]
    rest: Vec<String>,
}

impl Fetch {
    #[allow(clippy::unused_async, reason = "all verbs are called the same way")]
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        context.debug(&format!("arguments: {:?}", self.rest));
        let text = "registries are not yet supported: bring images in with `ctr images import FILE`";
        Err(Error::unimplemented(text).into())
    }
}
