//! `ctr tasks exec`

use crate::commands::run::finish;
use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::task::{Console, Pipes, Process, Session, Stdio};
use clap::Args;
use client::spec::{PROCESS_TYPE, RootFiles, Spec};
use client::{Client, Reply as _};
use model::{Error, Result};
use proto::api::containerd::services::containers::v1::Container;
use proto::api::containerd::services::snapshots::v1::MountsRequest;
use proto::api::containerd::services::tasks::v1::ExecProcessRequest;
use serde_json::{Value, json};
use std::path::Path;

/// Flags of `ctr tasks exec`.
#[derive(Debug, Args)]
#[command(override_usage = "ctr tasks exec [flags] --exec-id ID CONTAINER CMD [ARG...]")]
pub(crate) struct Exec {
    /// Working directory of the new process
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Allocate a TTY for the container
    #[arg(short, long)]
    tty: bool,
    /// Detach from the task after it has started execution
    #[arg(short, long)]
    detach: bool,
    /// Exec specific id for the process
    #[arg(long, value_name = "ID")]
    exec_id: String,
    /// Directory used for storing IO FIFOs
    #[arg(long, value_name = "DIR")]
    fifo_dir: Option<String>,
    /// Log uri for custom shim logging
    #[arg(long, value_name = "URI")]
    log_uri: Option<String>,
    /// User id or name
    #[arg(long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// The container, then the command with its arguments
    #[arg(trailing_var_arg = true, required = true, num_args = 2.., value_name = "CONTAINER CMD")]
    args: Vec<String>,
}

impl Exec {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let stdio = match &self.log_uri {
            Some(_) if self.tty => return Err(Error::invalid_argument("can't use log-uri with tty").into()),
            Some(_) if self.fifo_dir.is_some() => {
                return Err(Error::invalid_argument("can't use log-uri with fifo-dir").into());
            }
            Some(uri) => Stdio::Logger(uri.clone()),
            None => Stdio::Pipes { folder: self.fifo_dir.clone(), terminal: self.tty },
        };
        let client = context.connect().await?;
        let id = self.args.first().map(String::as_str).unwrap_or_default();
        let container = container::load(&client, id).await?;
        let process_spec = self.process_spec(&client, &container).await?;
        let console = (self.tty && !self.detach).then(Console::raw).transpose()?;
        let pipes = Pipes::create(&stdio, &self.exec_id)?;
        let ends = pipes.open()?;
        let value =
            serde_json::to_vec(&process_spec).map_err(|error| Error::internal("write the spec").caused_by(error))?;
        let request = ExecProcessRequest {
            container_id: container.id.clone(),
            exec_id: self.exec_id.clone(),
            stdin: pipes.stdin(),
            stdout: pipes.stdout(),
            stderr: pipes.stderr(),
            terminal: self.tty,
            spec: Some(proto::Any { type_url: PROCESS_TYPE.into(), value }),
        };
        client.tasks().exec(request).await.reply()?;
        let process = Process::new(&client, &container.id, &self.exec_id);
        let session = Session::new(process.clone(), pipes, ends);
        if self.detach {
            return Ok(session.start_detached().await?);
        }
        let attached = session.run(console.as_ref()).await;
        drop(console);
        finish(&process, attached).await
    }

    /// The container's own process, changed.
    async fn process_spec(&self, client: &Client, container: &Container) -> Result<Value> {
        let spec = container::spec_of(container)?;
        let mut process = spec["process"].clone();
        if !process.is_object() {
            return Err(Error::failed_precondition(format!(
                "the spec of container {:?} describes no process",
                container.id
            )));
        }
        if let Some(user) = self.user.as_ref().filter(|user| !user.is_empty()) {
            let files = root_files(client, container, &spec).await?;
            let mut own = Spec::default();
            own.set_user(user, &files)?;
            process["user"] = json!(own.process.user);
        }
        process["terminal"] = self.tty.into();
        process["args"] = self.args[1..].into();
        if let Some(cwd) = self.cwd.as_ref().filter(|cwd| !cwd.is_empty()) {
            process["cwd"] = cwd.as_str().into();
        }
        Ok(process)
    }
}

/// The container's root filesystem, to look users up in.
async fn root_files(client: &Client, container: &Container, spec: &Value) -> Result<RootFiles> {
    if container.snapshot_key.is_empty() {
        let path = spec["root"]["path"].as_str().unwrap_or_default();
        if !path.starts_with('/') {
            return Err(Error::failed_precondition("rootfs absolute path is required"));
        }
        return RootFiles::at(Path::new(path));
    }
    let request = MountsRequest { snapshotter: container.snapshotter.clone(), key: container.snapshot_key.clone() };
    let mounts = client.snapshots().mounts(request).await.reply()?.mounts;
    RootFiles::mounted(&mounts.into_iter().map(container::mount_of).collect::<Vec<_>>())
}
