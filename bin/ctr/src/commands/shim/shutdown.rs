//! `ctr shim shutdown`

use super::{ApiVersion, Shim, TIMEOUT};
use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use proto::shim::containerd::task::v3::ShutdownRequest;

/// Flags of `ctr shim shutdown`.
#[derive(Debug, Args)]
pub(super) struct Shutdown {
    #[command(flatten)]
    version: ApiVersion,
}

impl Shutdown {
    pub(super) async fn run(&self, shim: &Shim, context: &Context) -> Outcome {
        let tasks = shim.connect(context, self.version.api_version).await?;
        tasks.shutdown(&ShutdownRequest::default(), Some(TIMEOUT)).await?;
        Ok(())
    }
}
