//! `ctr images usage`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::SnapshotterFlag;
use crate::output::{Output, Table, bytes, print_json};
use clap::Args;
use client::{Platforms, Reply as _};
use model::Error;
use proto::api::containerd::services::snapshots::v1::UsageRequest;
use serde_json::json;

/// Flags of `ctr images usage`.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    #[command(flatten)]
    snapshotter: SnapshotterFlag,
    #[command(flatten)]
    output: Output,
    /// The image
    #[arg(value_name = "REF")]
    image: String,
}

impl Usage {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let snapshotter = client.snapshotter(self.snapshotter.name()).await?;
        let target = client.image_target(&self.image).await?;
        let content = client.image_content(&target, &Platforms::host()).await?;
        let mut next = content.chain_id()?.map(|chain_id| chain_id.to_string());
        let (mut table, mut documents) = (Table::narrow(), Vec::new());
        table.row(["KEY", "SIZE", "INODES"]);
        while let Some(key) = next.filter(|key| !key.is_empty()) {
            let info = client.snapshot_info(&snapshotter, &key).await.map_err(|error| match error.is_not_found() {
                true => Error::failed_precondition(format!(
                    "image {} isn't unpacked in snapshotter {snapshotter}",
                    self.image
                )),
                false => error,
            })?;
            let request = UsageRequest { snapshotter: snapshotter.clone(), key: key.clone() };
            let usage = client.snapshots().usage(request).await.reply()?;
            table.row([&key, &bytes(u64::try_from(usage.size).unwrap_or(0)), &usage.inodes.to_string()]);
            documents.push(json!({"key": key, "size": usage.size, "inodes": usage.inodes}));
            next = Some(info.parent);
        }
        if self.output.is_json() { print_json(&documents) } else { table.print() }
    }
}
