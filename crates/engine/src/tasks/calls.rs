//! What a shim is asked about a task that runs.

use super::{Supervisor, Task};
use crate::{Exec, Exit, Metric, Process, ProcessId, ProcessInfo, Status, Stdio};
use client::shim::is_closed;
use model::{Any, Error, Result, Timestamp, validate_identifier};
use proto::{
    api::containerd::v1::types as status,
    convert::{any_from_wire, any_to_wire, timestamp_from_wire},
    shim::containerd::task::v3 as wire,
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};

impl Task {
    pub(crate) async fn start(&self, process: &ProcessId, timeout: Duration) -> Result<u32> {
        let (id, exec_id) = names(process);
        let pid = self.client().start(&wire::StartRequest { id, exec_id }, Some(timeout)).await?.pid;
        if pid != 0 {
            return Ok(pid);
        }
        Ok(self.state(process, timeout).await?.pid)
    }

    pub(crate) async fn state(&self, process: &ProcessId, timeout: Duration) -> Result<Process> {
        let (id, exec_id) = names(process);
        let answer = self.client().state(&wire::StateRequest { id, exec_id }, Some(timeout)).await;
        // Gone with its shim, whose remains are being removed.
        let state = answer.map_err(|error| if is_closed(&error) { gone(process) } else { error })?;
        Ok(Process {
            id: process.exec.clone().unwrap_or_else(|| process.container.clone()),
            pid: state.pid,
            status: status_from_wire(state.status),
            exit_status: state.exit_status,
            exited_at: time_from_wire(state.exited_at),
            stdio: Stdio { stdin: state.stdin, stdout: state.stdout, stderr: state.stderr, terminal: state.terminal },
        })
    }

    pub(crate) async fn delete_exec(&self, process: &ProcessId, timeout: Duration) -> Result<Exit> {
        let (id, exec_id) = names(process);
        let answer = self.client().delete(&wire::DeleteRequest { id, exec_id }, Some(timeout)).await?;
        Ok(Exit { pid: answer.pid, status: answer.exit_status, at: time_from_wire(answer.exited_at) })
    }

    pub(crate) async fn kill(&self, process: &ProcessId, signal: u32, all: bool, timeout: Duration) -> Result<()> {
        let (id, exec_id) = names(process);
        self.client().kill(&wire::KillRequest { id, exec_id, signal, all }, Some(timeout)).await
    }

    pub(crate) async fn exec(&self, exec: Exec, timeout: Duration) -> Result<()> {
        validate_identifier(&exec.exec_id)
            .map_err(|error| error.context(format!("invalid exec id {}", exec.exec_id)))?;
        let request = wire::ExecProcessRequest {
            id: exec.container,
            exec_id: exec.exec_id,
            terminal: exec.stdio.terminal,
            stdin: exec.stdio.stdin,
            stdout: exec.stdio.stdout,
            stderr: exec.stdio.stderr,
            spec: exec.spec.map(any_to_wire),
        };
        self.client().exec(&request, Some(timeout)).await
    }

    pub(crate) async fn resize_pty(&self, process: &ProcessId, size: (u32, u32), timeout: Duration) -> Result<()> {
        let ((id, exec_id), (width, height)) = (names(process), size);
        self.client().resize_pty(&wire::ResizePtyRequest { id, exec_id, width, height }, Some(timeout)).await
    }

    pub(crate) async fn close_io(&self, process: &ProcessId, timeout: Duration) -> Result<()> {
        let (id, exec_id) = names(process);
        self.client().close_io(&wire::CloseIoRequest { id, exec_id, stdin: true }, Some(timeout)).await
    }

    pub(crate) async fn pause(&self, timeout: Duration) -> Result<()> {
        self.client().pause(&wire::PauseRequest { id: self.id().to_owned() }, Some(timeout)).await
    }

    pub(crate) async fn resume(&self, timeout: Duration) -> Result<()> {
        self.client().resume(&wire::ResumeRequest { id: self.id().to_owned() }, Some(timeout)).await
    }

    pub(crate) async fn pids(&self, timeout: Duration) -> Result<Vec<ProcessInfo>> {
        let answer = self.client().pids(&wire::PidsRequest { id: self.id().to_owned() }, Some(timeout)).await?;
        let info = |found: status::ProcessInfo| ProcessInfo { pid: found.pid, info: found.info.map(any_from_wire) };
        Ok(answer.processes.into_iter().map(info).collect())
    }

    pub(crate) async fn checkpoint(&self, path: String, options: Option<Any>, timeout: Duration) -> Result<()> {
        let options = options.map(any_to_wire);
        let request = wire::CheckpointTaskRequest { id: self.id().to_owned(), path, options };
        self.client().checkpoint(&request, Some(timeout)).await
    }

    pub(crate) async fn update(
        &self,
        resources: Option<Any>,
        annotations: BTreeMap<String, String>,
        timeout: Duration,
    ) -> Result<()> {
        let resources = resources.map(any_to_wire);
        let request = wire::UpdateTaskRequest { id: self.id().to_owned(), resources, annotations };
        self.client().update(&request, Some(timeout)).await
    }

    async fn stats(&self, timeout: Duration) -> Result<Metric> {
        let timestamp = Timestamp::now();
        let answer = self.client().stats(&wire::StatsRequest { id: self.id().to_owned() }, Some(timeout)).await?;
        Ok(Metric { id: self.id().to_owned(), timestamp, data: answer.stats.map(any_from_wire) })
    }

    /// Waits for as long as the process runs. An init whose shim dies has ended too.
    pub(crate) async fn wait(&self, process: &ProcessId) -> Result<Exit> {
        let (id, exec_id) = names(process);
        match self.client().wait(&wire::WaitRequest { id, exec_id }, None).await {
            Ok(answer) => Ok(Exit { pid: 0, status: answer.exit_status, at: time_from_wire(answer.exited_at) }),
            Err(error) if is_closed(&error) && process.exec.is_none() => Ok(self.ended().await),
            Err(error) => Err(error),
        }
    }
}

impl Supervisor {
    /// The state of each of `tasks`, all asked at once, in order of id. One that is gone or does
    /// not answer is left out.
    pub(crate) async fn states(&self, tasks: Vec<Arc<Task>>) -> Vec<Process> {
        let timeout = self.timeouts().state;
        let ask = move |task: Arc<Task>| async move { task.state(&ProcessId::init(task.id()), timeout).await };
        ask_all(tasks, "state", ask).await
    }

    /// The resource usage of each of `tasks`, as [`Self::states`].
    pub(crate) async fn all_stats(&self, tasks: Vec<Arc<Task>>) -> Vec<Metric> {
        let timeout = self.timeouts().stats;
        ask_all(tasks, "metrics", move |task: Arc<Task>| async move { task.stats(timeout).await }).await
    }
}

/// Asks every task at once: each has a shim of its own to answer, and its own deadline.
async fn ask_all<T, F>(mut tasks: Vec<Arc<Task>>, what: &str, ask: impl Fn(Arc<Task>) -> F) -> Vec<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    tasks.sort_by(|one, other| one.id().cmp(other.id()));
    let asked: Vec<_> = tasks.iter().map(|task| tokio::spawn(ask(Arc::clone(task)))).collect();
    let mut answers = Vec::with_capacity(asked.len());
    for (task, answer) in tasks.iter().zip(asked) {
        match answer.await {
            Ok(Ok(answer)) => answers.push(answer),
            Ok(Err(error)) if error.is_not_found() => {} // deleted meanwhile
            Ok(Err(error)) => tracing::warn!(id = task.id(), %error, "no {what} of this task"),
            Err(error) => tracing::warn!(id = task.id(), %error, "no {what} of this task"),
        }
    }
    answers
}

fn names(process: &ProcessId) -> (String, String) {
    (process.container.clone(), process.exec_id().to_owned())
}

fn gone(process: &ProcessId) -> Error {
    Error::not_found(format!("task {} not found", process.container))
}

fn time_from_wire(time: Option<prost_types::Timestamp>) -> Option<Timestamp> {
    time.map(|time| timestamp_from_wire(Some(time)))
}

fn status_from_wire(value: i32) -> Status {
    match status::Status::try_from(value) {
        Ok(status::Status::Created) => Status::Created,
        Ok(status::Status::Running) => Status::Running,
        Ok(status::Status::Stopped) => Status::Stopped,
        Ok(status::Status::Paused) => Status::Paused,
        Ok(status::Status::Pausing) => Status::Pausing,
        Ok(status::Status::Unknown) | Err(_) => Status::Unknown,
    }
}
