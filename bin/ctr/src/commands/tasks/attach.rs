//! `ctr tasks attach`

use crate::commands::run::finish;
use crate::container;
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::task::{self, Attached, Console, Pipes, Process, Session};
use clap::Args;
use model::Error;

/// Flags of `ctr tasks attach`.
#[derive(Debug, Args)]
pub(crate) struct Attach {
    /// The container
    container: String,
}

impl Attach {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let container = container::load(&client, &self.container).await?;
        let status = task::status(&client, &container.id, "").await?;
        if status.stdout.is_empty() {
            return Err(Error::failed_precondition(format!(
                "task {:?} has no pipes to attach to: it was started with --null-io",
                container.id
            ))
            .into());
        }
        let pipes = Pipes::existing(&status.stdin, &status.stdout, &status.stderr, status.terminal);
        let ends = pipes.open()?;
        let console = status.terminal.then(Console::raw).transpose()?;
        let process = Process::new(&client, &container.id, "");
        let attached = Session::new(process.clone(), pipes, ends).attach(console.as_ref()).await;
        drop(console);
        match attached {
            // Leaving must not end what we only looked at.
            Err(error) => Err(error.into()),
            Ok(Attached::Detached(signal)) => Failure::of_status(128 + signal),
            exited => finish(&process, exited).await,
        }
    }
}
