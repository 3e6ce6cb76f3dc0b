//! `ctr snapshots usage`

use super::Target;
use crate::failure::Outcome;
use crate::output::{Output, Table, bytes, print_json};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::snapshots::v1::UsageRequest;
use serde_json::json;

/// Flags of `ctr snapshots usage`.
#[derive(Debug, Args)]
pub(crate) struct Usage {
    /// Display size in bytes
    #[arg(short)]
    b: bool,
    #[command(flatten)]
    output: Output,
    /// The snapshots; all of them if none is given
    #[arg(value_name = "KEY")]
    keys: Vec<String>,
}

impl Usage {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let keys = match self.keys.is_empty() {
            true => target.list().await?.into_iter().map(|snapshot| snapshot.name).collect(),
            false => self.keys,
        };
        let (mut table, mut documents) = (Table::narrow(), Vec::new());
        table.row(["KEY", "SIZE", "INODES"]);
        for key in keys {
            let request = UsageRequest { snapshotter: target.snapshotter.clone(), key: key.clone() };
            let usage = target.client.snapshots().usage(request).await.reply()?;
            let size = match self.b {
                true => usage.size.to_string(),
                false => bytes(u64::try_from(usage.size).unwrap_or(0)),
            };
            table.row([&key, &size, &usage.inodes.to_string()]);
            documents.push(json!({"key": key, "size": usage.size, "inodes": usage.inodes}));
        }
        if self.output.is_json() { print_json(&documents) } else { table.print() }
    }
}
