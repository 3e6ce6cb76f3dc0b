//! `ctr tasks start`

use crate::commands::run::finish;
use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::task::{self, Console, Pipes, Process, Session, Stdio};
use clap::Args;
use client::Client;
use model::Error;
use proto::api::containerd::services::containers::v1::Container;
use proto::api::containerd::types::Descriptor;
use serde_json::Value;

/// Flags of `ctr tasks start`.
#[derive(Debug, Args)]
pub(crate) struct Start {
    /// Disable use of pivot-root (linux only)
    #[arg(long)]
    no_pivot: bool,
    /// Send all IO to /dev/null
    #[arg(long)]
    null_io: bool,
    /// Log uri
    #[arg(long, value_name = "URI")]
    log_uri: Option<String>,
    /// Directory used for storing IO FIFOs
    #[arg(long, value_name = "DIR")]
    fifo_dir: Option<String>,
    /// File path to write the task's pid
    #[arg(long, value_name = "FILE")]
    pid_file: Option<String>,
    /// Detach from the task after it has started execution
    #[arg(short, long)]
    detach: bool,
    /// The container
    container: String,
}

impl Start {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let container = container::load(&client, &self.container).await?;
        let spec = container::spec_of(&container)?;
        let terminal = container::has_terminal(&spec);
        let stdio = match self.log_uri {
            _ if self.null_io && terminal => {
                return Err(Error::invalid_argument("tty and null-io cannot be used together").into());
            }
            _ if self.null_io => Stdio::Null,
            Some(uri) if !terminal => Stdio::Logger(uri),
            _ => Stdio::Pipes { folder: self.fifo_dir, terminal },
        };
        let how = Beginning {
            stdio,
            detach: self.detach,
            no_pivot: self.no_pivot,
            pid_file: self.pid_file.as_deref(),
            checkpoint: None,
        };
        begin(&client, &container, &spec, how).await
    }
}

/// How a container's task begins.
#[derive(Debug)]
pub(crate) struct Beginning<'a> {
    /// Where its output goes.
    pub(crate) stdio: Stdio,
    /// Whether nobody stays with it.
    pub(crate) detach: bool,
    /// Whether `pivot_root` is not used.
    pub(crate) no_pivot: bool,
    /// A file for its pid.
    pub(crate) pid_file: Option<&'a str>,
    /// Processes to go on with.
    pub(crate) checkpoint: Option<Descriptor>,
}

/// Creates and starts a container's task, and stays with it until it has ended, unless that is not wanted.
pub(crate) async fn begin(client: &Client, container: &Container, spec: &Value, how: Beginning<'_>) -> Outcome {
    // Before anything is created: without a terminal there is nothing to take over.
    let console = (container::has_terminal(spec) && !how.detach).then(Console::raw).transpose()?;
    let pipes = Pipes::create(&how.stdio, &container.id)?;
    let ends = pipes.open()?;
    let pid = task::create(client, container, spec, &pipes, how.no_pivot, how.checkpoint).await?;
    let process = Process::new(client, &container.id, "");
    if let Some(file) = how.pid_file {
        container::write_pid_file(file, pid)?;
    }
    let session = Session::new(process.clone(), pipes, ends);
    if how.detach {
        return Ok(session.start_detached().await?);
    }
    let attached = session.run(console.as_ref()).await;
    drop(console);
    finish(&process, attached).await
}
