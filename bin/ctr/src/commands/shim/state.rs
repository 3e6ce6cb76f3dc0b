//! `ctr shim state`

use super::{ApiVersion, Shim, TIMEOUT};
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{print_json, to_json};
use clap::Args;
use proto::shim::containerd::task::v3::StateRequest;

/// Flags of `ctr shim state`.
#[derive(Debug, Args)]
pub(super) struct State {
    /// task ID
    #[arg(short, long, value_name = "ID")]
    task_id: Option<String>,
    #[command(flatten)]
    version: ApiVersion,
}

impl State {
    pub(super) async fn run(&self, shim: &Shim, context: &Context) -> Outcome {
        let tasks = shim.connect(context, self.version.api_version).await?;
        let id = self.task_id.clone().or_else(|| shim.id.clone()).unwrap_or_default();
        let state = tasks.state(&StateRequest { id, ..StateRequest::default() }, Some(TIMEOUT)).await?;
        print_json(&to_json(&state)?)
    }
}
