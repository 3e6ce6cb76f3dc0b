//! `ctr leases list`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::joined;
use crate::output::{Output, Table, line, print_json, rfc3339_local, timestamp_nanos};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::leases::v1::ListRequest;
use serde_json::{Value, json};

/// Flags of `ctr leases list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print only the lease id
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
    /// Which ones (id==NAME, labels.KEY==VALUE, ...)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let leases = client.leases().list(ListRequest { filters: self.filters }).await.reply()?.leases;
        if self.output.is_json() {
            let list = leases.iter().map(|lease| {
                let created_at = timestamp_nanos(lease.created_at.as_ref());
                json!({"id": lease.id, "createdAt": created_at, "labels": lease.labels})
            });
            return print_json(&list.collect::<Vec<Value>>());
        }
        if self.quiet {
            return leases.iter().try_for_each(|lease| line(&lease.id));
        }
        let mut table = Table::narrow();
        table.row(["ID", "CREATED AT", "LABELS"]);
        for lease in &leases {
            let labels = if lease.labels.is_empty() { "-".to_owned() } else { joined(&lease.labels) };
            table.row([&lease.id, &rfc3339_local(lease.created_at.as_ref()), &labels]);
        }
        table.print()
    }
}
