//! `ctr deprecations list`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Table, print_json, timestamp_nanos};
use clap::Args;
use client::Reply as _;
use serde_json::{Value, json};

/// Flags of `ctr deprecations list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// output format to use (Examples: 'default', 'json')
    #[arg(long, short = 'o', visible_alias = "output", default_value = "default", value_name = "FORMAT")]
    format: String,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        // They are what is printed: no need to warn of them as well.
        let client = context.connect_quietly().await?;
        let deprecations = client.introspection().server(()).await.reply()?.deprecations;
        if deprecations.is_empty() && self.format != "json" {
            return Ok(());
        }
        if self.format == "json" {
            let list = deprecations.iter().map(|deprecation| {
                let last_occurrence = timestamp_nanos(deprecation.last_occurrence.as_ref());
                json!({"id": deprecation.id, "message": deprecation.message, "lastOccurrence": last_occurrence})
            });
            return print_json(&list.collect::<Vec<Value>>());
        }
        let mut table = Table::wide();
        table.row(["ID", "LAST OCCURRENCE", "MESSAGE"]);
        for deprecation in &deprecations {
            let last = timestamp_nanos(deprecation.last_occurrence.as_ref());
            table.line(format!("{}\t{last}\t{}", deprecation.id, deprecation.message));
        }
        table.print()
    }
}
