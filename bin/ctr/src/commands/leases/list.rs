//! `ctr leases list`

use crate::commands::listing::Listing;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::joined_or_dash;
use crate::output::{Table, rfc3339_local, timestamp_nanos};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::leases::v1::{Lease, ListRequest};
use serde_json::json;

/// Flags of `ctr leases list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
    /// Which ones (id==NAME, labels.KEY==VALUE, ...)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let leases = client.leases().list(ListRequest { filters: self.filters }).await.reply()?.leases;
        let document = |lease: &Lease| {
            let created_at = timestamp_nanos(lease.created_at.as_ref());
            Ok(json!({"id": lease.id, "createdAt": created_at, "labels": lease.labels}))
        };
        self.listing.print(
            &leases,
            |lease| &lease.id,
            document,
            |leases| {
                let mut table = Table::narrow();
                table.row(["ID", "CREATED AT", "LABELS"]);
                for lease in leases {
                    let labels = joined_or_dash(&lease.labels);
                    table.row([&lease.id, &rfc3339_local(lease.created_at.as_ref()), &labels]);
                }
                table
            },
        )
    }
}
