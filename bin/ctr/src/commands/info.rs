//! `ctr info`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output;
use clap::Args;
use client::Reply as _;
use serde_json::json;

/// Flags of `ctr info`.
#[derive(Debug, Args)]
pub(crate) struct Info {}

impl Info {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let server = client.introspection().server(()).await.reply()?;
        output::print_json(&json!({"server": output::to_json(&server)?}))
    }
}
