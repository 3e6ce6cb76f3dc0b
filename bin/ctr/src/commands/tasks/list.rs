//! `ctr tasks list`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Output, Table, line, print_json};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::tasks::v1::ListTasksRequest;
use proto::api::containerd::v1::types::Status;
use serde_json::{Value, json};

/// Flags of `ctr tasks list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    /// Print only the task id
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    output: Output,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let tasks = client.tasks().list(ListTasksRequest::default()).await.reply()?.tasks;
        if self.output.is_json() {
            let list = tasks.iter().map(|task| {
                json!({
                    "id": task.id,
                    "pid": task.pid,
                    "status": status_name(task.status),
                    "exitStatus": task.exit_status,
                    "terminal": task.terminal,
                    "stdin": task.stdin,
                    "stdout": task.stdout,
                    "stderr": task.stderr,
                })
            });
            return print_json(&list.collect::<Vec<Value>>());
        }
        if self.quiet {
            return tasks.iter().try_for_each(|task| line(&task.id));
        }
        let mut table = Table::wide();
        table.line("TASK\tPID\tSTATUS\t");
        for task in &tasks {
            table.line(format!("{}\t{}\t{}", task.id, task.pid, status_name(task.status)));
        }
        table.print()
    }
}

fn status_name(status: i32) -> String {
    Status::try_from(status).map_or_else(|_| status.to_string(), |status| status.as_str_name().to_owned())
}
