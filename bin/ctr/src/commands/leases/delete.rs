//! `ctr leases delete`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::line;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::leases::v1::DeleteRequest;

/// Flags of `ctr leases delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Synchronously remove leases and all unreferenced resources
    #[arg(long)]
    sync: bool,
    /// The leases
    ids: Vec<String>,
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        for (index, id) in self.ids.iter().enumerate() {
            // One collection is enough, after the last.
            let sync = self.sync && index + 1 == self.ids.len();
            client.leases().delete(DeleteRequest { id: id.clone(), sync }).await.reply()?;
            line(id)?;
        }
        Ok(())
    }
}
