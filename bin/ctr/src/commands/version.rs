//! `ctr version`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{self, Output, line};
use clap::Args;
use client::Reply as _;
use serde_json::json;

/// Flags of `ctr version`.
#[derive(Debug, Args)]
pub(crate) struct Version {
    #[command(flatten)]
    output: Output,
}

impl Version {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let (own, revision) = (env!("CARGO_PKG_VERSION"), "containerd-rs");
        if !self.output.is_json() {
            line("Client:")?;
            line(format!("  Version:  {own}"))?;
            line(format!("  Revision: {revision}"))?;
            line("")?;
        }
        let client = context.connect().await?;
        let version = client.version().version(()).await.reply()?;
        let server = client.introspection().server(()).await.reply()?;
        if self.output.is_json() {
            return output::print_json(&json!({
                "client": {"version": own, "revision": revision},
                "server": {"version": version.version, "revision": version.revision, "uuid": server.uuid},
            }));
        }
        line("Server:")?;
        line(format!("  Version:  {}", version.version))?;
        line(format!("  Revision: {}", version.revision))?;
        line(format!("  UUID: {}", server.uuid))
    }
}
