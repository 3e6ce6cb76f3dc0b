//! `ctr shim delete`

use super::{Shim, TIMEOUT};
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::line;
use clap::Args;
use proto::shim::containerd::task::v3::DeleteRequest;

/// Flags of `ctr shim delete`.
#[derive(Debug, Args)]
pub(super) struct Delete {
    /// The container
    id: String,
}

impl Delete {
    pub(super) async fn run(&self, shim: &Shim, context: &Context) -> Outcome {
        let tasks = shim.connect(context, 3).await?;
        let request = DeleteRequest { id: self.id.clone(), ..DeleteRequest::default() };
        let reply = tasks.delete(&request, Some(TIMEOUT)).await?;
        line(format!("container deleted and returned exit status {}", reply.exit_status))
    }
}
