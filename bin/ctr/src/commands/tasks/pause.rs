//! `ctr tasks pause`

use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::tasks::v1::PauseTaskRequest;

/// Flags of `ctr tasks pause`.
#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// The container
    container: String,
}

impl Pause {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        client.tasks().pause(PauseTaskRequest { container_id: self.container }).await.reply()?;
        Ok(())
    }
}
