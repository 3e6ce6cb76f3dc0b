//! `ctr run`: create, start, attend, remove.

use crate::commands::tasks::{Beginning, begin};
use crate::container::{self, ContainerFlags, RunFlags};
use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output;
use crate::task::{Attached, Process, Stdio};
use clap::Args;
use client::Client;
use model::{Error, Result};
use proto::api::containerd::services::containers::v1::Container;
use serde_json::Value;

/// Flags of `ctr run`.
#[derive(Debug, Args)]
#[command(override_usage = "ctr run [flags] Image|RootFS ID [COMMAND] [ARG...]")]
pub(crate) struct Run {
    /// Remove the container after running, cannot be used with --detach
    #[arg(long)]
    pub(crate) rm: bool,
    /// Send all IO to /dev/null
    #[arg(long)]
    null_io: bool,
    /// Log uri
    #[arg(long, value_name = "URI")]
    log_uri: Option<String>,
    /// Detach from the task after it has started execution, cannot be used with --rm
    #[arg(short, long)]
    detach: bool,
    /// Directory used for storing IO FIFOs
    #[arg(long, value_name = "DIR")]
    fifo_dir: Option<String>,
    /// Dump the generated OCI config to a file
    #[arg(long, value_name = "FILE")]
    dump_config: Option<String>,
    #[command(flatten)]
    run: RunFlags,
    #[command(flatten)]
    pub(crate) container: ContainerFlags,
    /// Image (or root filesystem) and container id, then the command with its arguments
    #[arg(trailing_var_arg = true, required = true, value_name = "IMAGE ID [COMMAND]")]
    pub(crate) args: Vec<String>,
}

impl Run {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let target = container::target_of_args(&self.args, self.container.config.as_deref())?;
        if self.rm && self.detach {
            return Err(Error::invalid_argument("flags --detach and --rm cannot be specified together").into());
        }
        if self.container.tty && self.null_io {
            return Err(Error::invalid_argument("tty and null-io cannot be used together").into());
        }
        let client = context.connect().await?;
        let container =
            Box::pin(container::create(context, &client, &target, &self.container, Some(&self.run))).await?;
        let outcome = Box::pin(self.start(&client, &container)).await;
        if self.rm
            && let Err(error) = container::delete(&client, &container, false).await
        {
            output::warn(&format!("failed to cleanup container: {error}"));
        }
        outcome
    }

    async fn start(&self, client: &Client, container: &Container) -> Outcome {
        let spec = container::spec_of(container)?;
        if let Some(file) = &self.dump_config {
            dump(file, &spec)?;
        }
        let how = Beginning {
            stdio: self.stdio(container::has_terminal(&spec)),
            detach: self.detach,
            no_pivot: self.container.no_pivot,
            pid_file: self.container.pid_file.as_deref(),
            checkpoint: None,
        };
        begin(client, container, &spec, how).await
    }

    fn stdio(&self, terminal: bool) -> Stdio {
        match &self.log_uri {
            _ if self.null_io => Stdio::Null,
            Some(uri) if !terminal => Stdio::Logger(uri.clone()),
            _ => Stdio::Pipes { folder: self.fifo_dir.clone(), terminal },
        }
    }
}

/// Removes a task that has ended, and ends as it did.
pub(crate) async fn finish(process: &Process, attached: Result<Attached>) -> Outcome {
    match attached {
        Ok(Attached::Exited(status)) => {
            match process.delete().await {
                Err(error) if !error.is_not_found() => return Err(error.into()),
                _ => {}
            }
            Failure::of_status(status)
        }
        // As a shell reports a program that a signal ended.
        Ok(Attached::Detached(signal)) => Failure::of_status(128 + signal),
        Err(error) => {
            match process.kill_and_delete().await {
                Err(error) if !error.is_not_found() => output::warn(&format!("failed to cleanup task: {error}")),
                _ => {}
            }
            Err(error.into())
        }
    }
}

fn dump(file: &str, spec: &Value) -> Result<()> {
    let text =
        serde_json::to_string_pretty(spec).map_err(|error| Error::internal("write the spec").caused_by(error))?;
    std::fs::write(file, text).map_err(|error| Error::io(format!("write {file}"), error))
}
