//! `ctr content active`

use crate::cli::parse_duration;
use crate::context::{Context, within};
use crate::failure::Outcome;
use crate::output::{Output, Table, age, human_size, print_json, timestamp_nanos};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::content::v1::ListStatusesRequest;
use serde_json::{Value, json};
use std::time::Duration;

/// Flags of `ctr content active`.
#[derive(Debug, Args)]
pub(crate) struct Active {
    /// Total timeout of this command, 0 for none
    #[arg(long, short, env = "CONTAINERD_FETCH_TIMEOUT", default_value = "0s", value_name = "DURATION",
        value_parser = parse_duration)]
    timeout: Duration,
    /// Accepted for compatibility, without effect
    #[arg(long, hide = true)]
    root: Option<String>,
    #[command(flatten)]
    output: Output,
    /// Which ones, a regular expression on their names
    #[arg(value_name = "REGEXP")]
    pattern: Option<String>,
}

impl Active {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        within(self.timeout, self.list(context)).await
    }

    async fn list(&self, context: &Context) -> Outcome {
        context.debug(&format!("without effect: --root {:?}", self.root));
        let client = context.connect().await?;
        let filters = self.pattern.clone().into_iter().collect();
        let statuses = client.content().list_statuses(ListStatusesRequest { filters }).await.reply()?.statuses;
        if self.output.is_json() {
            let list = statuses.iter().map(|status| {
                json!({
                    "ref": status.r#ref,
                    "offset": status.offset,
                    "total": status.total,
                    "expected": status.expected,
                    "startedAt": timestamp_nanos(status.started_at.as_ref()),
                    "updatedAt": timestamp_nanos(status.updated_at.as_ref()),
                })
            });
            return print_json(&list.collect::<Vec<Value>>());
        }
        let mut table = Table::tabbed();
        table.row(["REF", "SIZE", "AGE"]);
        for status in &statuses {
            let size = human_size(u64::try_from(status.offset).unwrap_or(0));
            table.row([&status.r#ref, &size, &age(status.started_at.as_ref())]);
        }
        table.print()
    }
}
