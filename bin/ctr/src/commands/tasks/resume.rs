//! `ctr tasks resume`

use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::tasks::v1::ResumeTaskRequest;

/// Flags of `ctr tasks resume`.
#[derive(Debug, Args)]
pub(crate) struct Resume {
    /// The container
    container: String,
}

impl Resume {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        client.tasks().resume(ResumeTaskRequest { container_id: self.container }).await.reply()?;
        Ok(())
    }
}
