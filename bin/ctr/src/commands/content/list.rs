//! `ctr content list`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::joined;
use crate::output::{Output, Table, age, human_size, line, print_json, timestamp_nanos};
use clap::Args;
use client::{Client, Reply as _, error_of};
use model::Result;
use proto::api::containerd::services::content::v1::{Info, ListContentRequest};
use serde_json::{Value, json};

/// Flags of `ctr content list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print only the blob digest
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
    /// Which ones (digest==DIGEST, size==BYTES, labels.KEY==VALUE)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let blobs = list(&client, self.filters).await?;
        if self.output.is_json() {
            let list = blobs.iter().map(|blob| {
                json!({
                    "digest": blob.digest,
                    "size": blob.size,
                    "createdAt": timestamp_nanos(blob.created_at.as_ref()),
                    "updatedAt": timestamp_nanos(blob.updated_at.as_ref()),
                    "labels": blob.labels,
                })
            });
            return print_json(&list.collect::<Vec<Value>>());
        }
        if self.quiet {
            return blobs.iter().try_for_each(|blob| line(&blob.digest));
        }
        let mut table = Table::tabbed();
        table.line("DIGEST\tSIZE\tAGE\tLABELS");
        for blob in &blobs {
            let labels = if blob.labels.is_empty() { "-".to_owned() } else { joined(&blob.labels) };
            let size = human_size(u64::try_from(blob.size).unwrap_or(0));
            table.line(format!("{}\t{size}\t{}\t{labels}", blob.digest, age(blob.created_at.as_ref())));
        }
        table.print()
    }
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
