//! `ctr tasks ps`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{Output, Table, print_json};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::runc::v1::ProcessDetails;
use proto::api::containerd::services::tasks::v1::ListPidsRequest;
use serde_json::{Value, json};

/// Flags of `ctr tasks ps`.
#[derive(Debug, Args)]
pub(crate) struct Ps {
    /// The container
    container: String,
    #[command(flatten)]
    output: Output,
}

impl Ps {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let request = ListPidsRequest { container_id: self.container };
        let processes = client.tasks().list_pids(request).await.reply()?.processes;
        // A process that was executed later says by which id.
        let exec_id = |info: &proto::Any| -> Option<String> {
            prost::Message::decode(info.value.as_slice()).ok().map(|details: ProcessDetails| details.exec_id)
        };
        if self.output.is_json() {
            let list = processes
                .iter()
                .map(|process| json!({"pid": process.pid, "execId": process.info.as_ref().and_then(exec_id)}));
            return print_json(&list.collect::<Vec<Value>>());
        }
        let mut table = Table::spaced();
        table.line("PID\tINFO");
        for process in &processes {
            let info = process.info.as_ref().and_then(exec_id);
            let info = info.map_or_else(|| "-".to_owned(), |id| format!("exec_id:{id:?}"));
            table.line(format!("{}\t{info}", process.pid));
        }
        table.print()
    }
}
