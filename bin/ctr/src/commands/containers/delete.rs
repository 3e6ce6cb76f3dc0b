//! `ctr containers delete`

use crate::container;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::complain;
use crate::task::{self, Process};
use clap::Args;
use client::Client;
use model::{Error, Result};
use proto::api::containerd::v1::types::Status;

/// Flags of `ctr containers delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Do not clean up snapshot with container
    #[arg(long)]
    keep_snapshot: bool,
    /// The containers
    #[arg(required = true)]
    containers: Vec<String>,
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let mut failed = false;
        for id in &self.containers {
            if let Err(error) = delete(&client, id, self.keep_snapshot).await {
                complain(&format!("failed to delete container {id:?}: {error}"));
                failed = true;
            }
        }
        Failure::when(failed)
    }
}

async fn delete(client: &Client, id: &str, keep_snapshot: bool) -> Result<()> {
    let container = container::load(client, id).await?;
    match task::status(client, id, "").await {
        Ok(status) if status.status == i32::from(Status::Stopped) || status.status == i32::from(Status::Created) => {
            Process::new(client, id, "").delete().await?;
            task::remove_kept(&status.stdout);
        }
        Ok(status) => {
            let status = Status::try_from(status.status).map_or("UNKNOWN", |status| status.as_str_name());
            return Err(Error::failed_precondition(format!(
                "cannot delete a non stopped container: it is {status} (stop it with `ctr tasks kill`)"
            )));
        }
        Err(error) if error.is_not_found() => {}
        Err(error) => return Err(error),
    }
    container::delete(client, &container, keep_snapshot).await
}
