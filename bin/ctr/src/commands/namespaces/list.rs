//! `ctr namespaces list`

use crate::commands::listing::Listing;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::joined;
use crate::output::Table;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::namespaces::v1::{ListNamespacesRequest, Namespace};
use serde_json::json;

/// Flags of `ctr namespaces list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let namespaces = client.namespaces().list(ListNamespacesRequest::default()).await.reply()?.namespaces;
        let document = |namespace: &Namespace| Ok(json!({"name": namespace.name, "labels": namespace.labels}));
        self.listing.print(
            &namespaces,
            |namespace| &namespace.name,
            document,
            |namespaces| {
                let mut table = Table::narrow();
                table.row(["NAME", "LABELS"]);
                for namespace in namespaces {
                    table.row([&namespace.name, &joined(&namespace.labels)]);
                }
                table
            },
        )
    }
}
