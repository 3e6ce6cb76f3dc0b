//! `ctr tasks delete`

use crate::container;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{complain, warn};
use crate::task::{self, Process};
use clap::Args;
use client::Client;
use model::{Kind, Result};

/// Flags of `ctr tasks delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Force delete task process
    #[arg(short, long)]
    force: bool,
    /// Process ID to kill
    #[arg(long, value_name = "ID")]
    exec_id: Option<String>,
    /// The containers
    containers: Vec<String>,
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        if let Some(exec_id) = &self.exec_id {
            let id = self.containers.first().map(String::as_str).unwrap_or_default();
            return Failure::of_status(self.delete(&client, id, exec_id).await?);
        }
        let mut failed = false;
        for id in &self.containers {
            match self.delete(&client, id, "").await {
                Ok(0) => {}
                Ok(status) => warn(&format!("task {id} exit with non-zero exit code {status}")),
                Err(error) => {
                    complain(&format!("unable to delete {id}: {error}"));
                    failed = true;
                }
            }
        }
        Failure::when(failed)
    }

    async fn delete(&self, client: &Client, id: &str, exec_id: &str) -> Result<u32> {
        let container = container::load(client, id).await?;
        let status = task::status(client, &container.id, exec_id).await?;
        let process = Process::new(client, &container.id, exec_id);
        let deleted = if self.force { process.kill_and_delete().await } else { process.delete().await };
        let exit = deleted.map_err(|error| match error.kind() {
            Kind::FailedPrecondition => error.context("it still runs (stop it with `ctr tasks kill`, or use --force)"),
            _ => error,
        })?;
        task::remove_kept(&status.stdout);
        Ok(exit)
    }
}
