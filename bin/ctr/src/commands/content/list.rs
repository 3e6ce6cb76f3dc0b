//! `ctr content list`

use crate::commands::listing::Listing;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::joined_or_dash;
use crate::output::{Table, age, human_size, timestamp_nanos};
use clap::Args;
use client::{Client, Reply as _, error_of};
use model::Result;
use proto::api::containerd::services::content::v1::{Info, ListContentRequest};
use serde_json::{Value, json};

/// Flags of `ctr content list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
    /// Which ones (digest==DIGEST, size==BYTES, labels.KEY==VALUE)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let blobs = list(&client, self.filters).await?;
        self.listing.print(
            &blobs,
            |blob| &blob.digest,
            document,
            |blobs| {
                let mut table = Table::tabbed();
                table.line("DIGEST\tSIZE\tAGE\tLABELS");
                for blob in blobs {
                    let labels = joined_or_dash(&blob.labels);
                    let size = human_size(u64::try_from(blob.size).unwrap_or(0));
                    table.line(format!("{}\t{size}\t{}\t{labels}", blob.digest, age(blob.created_at.as_ref())));
                }
                table
            },
        )
    }
}

#[allow(clippy::unnecessary_wraps, reason = "as listings want it")]
fn document(blob: &Info) -> Result<Value> {
    Ok(json!({
        "digest": blob.digest,
        "size": blob.size,
        "createdAt": timestamp_nanos(blob.created_at.as_ref()),
        "updatedAt": timestamp_nanos(blob.updated_at.as_ref()),
        "labels": blob.labels,
    }))
}

/// Every blob that a filter matches.
pub(super) async fn list(client: &Client, filters: Vec<String>) -> Result<Vec<Info>> {
    let mut stream = client.content().list(ListContentRequest { filters }).await.reply()?;
    let mut blobs = Vec::new();
    while let Some(message) = stream.message().await.map_err(error_of)? {
        blobs.extend(message.info);
    }
    Ok(blobs)
}
