//! `ctr content label`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::{LabelArgs, joined};
use crate::output::line;
use clap::Args;
use model::Digest;

/// Flags of `ctr content label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The blob
    digest: String,
    #[command(flatten)]
    labels: LabelArgs,
}

impl Label {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let digest: Digest = self.digest.parse()?;
        let client = context.connect().await?;
        let info = client.label_blob(&digest, self.labels.get()).await?;
        line(joined(&info.labels))
    }
}
