//! `ctr content label`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::{joined, labels};
use crate::output::line;
use clap::Args;
use model::Digest;

/// Flags of `ctr content label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The blob
    digest: String,
    /// Labels to set; an empty value clears one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<String>,
}

impl Label {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let digest: Digest = self.digest.parse()?;
        let client = context.connect().await?;
        let info = client.label_blob(&digest, labels(&self.labels)).await?;
        line(joined(&info.labels))
    }
}
