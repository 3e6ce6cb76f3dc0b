//! `ctr namespaces list`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::joined;
use crate::output::{Output, Table, line, print_json};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::namespaces::v1::ListNamespacesRequest;
use serde_json::{Value, json};

/// Flags of `ctr namespaces list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print only the namespace name
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let namespaces = client.namespaces().list(ListNamespacesRequest::default()).await.reply()?.namespaces;
        if self.output.is_json() {
            let list = namespaces.iter().map(|namespace| json!({"name": namespace.name, "labels": namespace.labels}));
            return print_json(&list.collect::<Vec<Value>>());
        }
        if self.quiet {
            return namespaces.iter().try_for_each(|namespace| line(&namespace.name));
        }
        let mut table = Table::narrow();
        table.row(["NAME", "LABELS"]);
        for namespace in &namespaces {
            table.row([&namespace.name, &joined(&namespace.labels)]);
        }
        table.print()
    }
}
