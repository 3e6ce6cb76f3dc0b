//! `ctr tasks list`

use crate::commands::listing::Listing;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::Table;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::tasks::v1::ListTasksRequest;
use proto::api::containerd::v1::types::{Process, Status};
use serde_json::json;

/// Flags of `ctr tasks list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let tasks = client.tasks().list(ListTasksRequest::default()).await.reply()?.tasks;
        let document = |task: &Process| {
            Ok(json!({
                "id": task.id,
                "pid": task.pid,
                "status": status_name(task.status),
                "exitStatus": task.exit_status,
                "terminal": task.terminal,
                "stdin": task.stdin,
                "stdout": task.stdout,
                "stderr": task.stderr,
            }))
        };
        self.listing.print(
            &tasks,
            |task| &task.id,
            document,
            |tasks| {
                let mut table = Table::wide();
                table.line("TASK\tPID\tSTATUS\t");
                for task in tasks {
                    table.line(format!("{}\t{}\t{}", task.id, task.pid, status_name(task.status)));
                }
                table
            },
        )
    }
}

fn status_name(status: i32) -> String {
    Status::try_from(status).map_or_else(|_| status.to_string(), |status| status.as_str_name().to_owned())
}
