//! `ctr shim start`

use super::{Shim, TIMEOUT};
use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use proto::shim::containerd::task::v3::StartRequest;

/// Flags of `ctr shim start`.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// The container
    id: String,
}

impl Start {
    pub(super) async fn run(&self, shim: &Shim, context: &Context) -> Outcome {
        let tasks = shim.connect(context, 3).await?;
        let request = StartRequest { id: self.id.clone(), ..StartRequest::default() };
        tasks.start(&request, Some(TIMEOUT)).await?;
        Ok(())
    }
}
