//! `ctr tasks start`

use crate::commands::run::finish;
use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::task::{self, Console, Pipes, Process, Session, Stdio};
use clap::Args;
use model::Error;

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
        let console = (terminal && !self.detach).then(Console::raw).transpose()?;
        let pipes = Pipes::create(&stdio, &container.id)?;
        let ends = pipes.open()?;
        let pid = task::create(&client, &container, &spec, &pipes, self.no_pivot).await?;
        if let Some(file) = &self.pid_file {
            container::write_pid_file(file, pid)?;
        }
        let process = Process::new(&client, &container.id, "");
        let session = Session::new(process.clone(), pipes, ends);
        if self.detach {
            return Ok(session.start_detached().await?);
        }
        let attached = session.run(console.as_ref()).await;
        drop(console);
        finish(&process, attached).await
    }
}
