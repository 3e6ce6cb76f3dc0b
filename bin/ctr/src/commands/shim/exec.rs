//! `ctr shim exec`

use super::{Shim, TIMEOUT};
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::line;
use clap::Args;
use client::spec::PROCESS_TYPE;
use model::Error;
use proto::shim::containerd::task::v3::{ExecProcessRequest, StartRequest};

/// Flags of `ctr shim exec`.
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Specify the path to the stdin fifo
    #[arg(long, default_value = "", value_name = "FIFO")]
    stdin: String,
    /// Specify the path to the stdout fifo
    #[arg(long, default_value = "", value_name = "FIFO")]
    stdout: String,
    /// Specify the path to the stderr fifo
    #[arg(long, default_value = "", value_name = "FIFO")]
    stderr: String,
    /// Enable tty support
    #[arg(short, long)]
    tty: bool,
    /// Stay attached to the container and open the fifos (not yet supported)
    #[arg(short, long)]
    attach: bool,
    /// Runtime spec of the process, a file
    #[arg(long, value_name = "FILE")]
    spec: String,
    /// Id of the new process
    id: String,
}

impl Exec {
    pub(super) async fn run(&self, shim: &Shim, context: &Context) -> Outcome {
        if self.attach {
            return Err(Error::unimplemented("--attach is not yet supported").into());
        }
        let value = std::fs::read(&self.spec).map_err(|error| Error::io(format!("read {}", self.spec), error))?;
        let container = shim.id.clone().unwrap_or_default();
        let tasks = shim.connect(context, 3).await?;
        let request = ExecProcessRequest {
            id: container.clone(),
            exec_id: self.id.clone(),
            spec: Some(proto::Any { type_url: PROCESS_TYPE.into(), value }),
            stdin: self.stdin.clone(),
            stdout: self.stdout.clone(),
            stderr: self.stderr.clone(),
            terminal: self.tty,
        };
        tasks.exec(&request, Some(TIMEOUT)).await?;
        let request = StartRequest { id: container, exec_id: self.id.clone() };
        let started = tasks.start(&request, Some(TIMEOUT)).await?;
        line(format!("exec running with pid {}", started.pid))
    }
}
