//! The library's front door.

use crate::{CreateTask, EngineConfig, Exchange, Exec, Exit, Metric, Process, ProcessId, ProcessInfo, RuntimeInfo};
use model::{Any, Descriptor, Error, Result, Scope};
use std::{collections::BTreeMap, sync::Arc};

/// Supervises containers. Cheap to clone; every clone is the same engine.
#[derive(Clone, Debug)]
pub struct Engine {
    #[allow(dead_code, reason = "read by the verbs, which land next")]
    config: Arc<EngineConfig>,
    exchange: Arc<Exchange>,
}

#[allow(clippy::unused_async, unused_variables, reason = "the verbs land next")]
impl Engine {
    /// Makes the folders, starts to listen for shims' events and to adopt, in the background, what
    /// an earlier daemon left running.
    pub async fn open(config: EngineConfig, exchange: Arc<Exchange>) -> Result<Self> {
        Ok(Self { config: Arc::new(config), exchange })
    }

    /// The bus that shims' events arrive on.
    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.exchange
    }

    /// Creates a container's task and returns its init's pid. The init does not run yet.
    pub async fn create_task(&self, scope: &Scope, task: CreateTask) -> Result<u32> {
        Err(Error::unimplemented("create task"))
    }

    /// Starts a created process and returns its pid.
    pub async fn start(&self, scope: &Scope, process: &ProcessId) -> Result<u32> {
        Err(Error::unimplemented("start process"))
    }

    /// Deletes a stopped task: its shim ends and its bundle goes.
    pub async fn delete_task(&self, scope: &Scope, container: &str) -> Result<Exit> {
        Err(Error::unimplemented("delete task"))
    }

    /// Deletes a stopped exec.
    pub async fn delete_process(&self, scope: &Scope, container: &str, exec_id: &str) -> Result<Exit> {
        Err(Error::unimplemented("delete process"))
    }

    /// The state of a process.
    pub async fn get_task(&self, scope: &Scope, process: &ProcessId) -> Result<Process> {
        Err(Error::unimplemented("get task"))
    }

    /// The state of every task's init. Tasks whose shim does not answer in time are left out.
    pub async fn list_tasks(&self, scope: &Scope) -> Result<Vec<Process>> {
        Err(Error::unimplemented("list tasks"))
    }

    /// Sends `signal`; `all`: to every process of the container.
    pub async fn kill(&self, scope: &Scope, process: &ProcessId, signal: u32, all: bool) -> Result<()> {
        Err(Error::unimplemented("kill"))
    }

    /// Adds a process to a container; [`Engine::start`] runs it.
    pub async fn exec(&self, scope: &Scope, exec: Exec) -> Result<()> {
        Err(Error::unimplemented("exec"))
    }

    /// Sets the size of a process's terminal, in characters.
    pub async fn resize_pty(&self, scope: &Scope, process: &ProcessId, width: u32, height: u32) -> Result<()> {
        Err(Error::unimplemented("resize pty"))
    }

    /// Closes a process's standard input.
    pub async fn close_io(&self, scope: &Scope, process: &ProcessId) -> Result<()> {
        Err(Error::unimplemented("close io"))
    }

    /// Freezes a container.
    pub async fn pause(&self, scope: &Scope, container: &str) -> Result<()> {
        Err(Error::unimplemented("pause"))
    }

    /// Thaws a container.
    pub async fn resume(&self, scope: &Scope, container: &str) -> Result<()> {
        Err(Error::unimplemented("resume"))
    }

    /// The processes in a container.
    pub async fn pids(&self, scope: &Scope, container: &str) -> Result<Vec<ProcessInfo>> {
        Err(Error::unimplemented("list pids"))
    }

    /// Checkpoints a container into content (image, config), or into the folder that `options` name.
    pub async fn checkpoint(&self, scope: &Scope, container: &str, options: Option<Any>) -> Result<Vec<Descriptor>> {
        Err(Error::unimplemented("checkpoint"))
    }

    /// Changes a running container's resource limits.
    pub async fn update(
        &self,
        scope: &Scope,
        container: &str,
        resources: Option<Any>,
        annotations: BTreeMap<String, String>,
    ) -> Result<()> {
        Err(Error::unimplemented("update"))
    }

    /// The resource usage of the tasks that pass one of `filters` (fields `id`, `namespace`; none: all).
    pub async fn metrics(&self, scope: &Scope, filters: &[String]) -> Result<Vec<Metric>> {
        Err(Error::unimplemented("metrics"))
    }

    /// Waits for a process to end, as long as that takes.
    pub async fn wait(&self, scope: &Scope, process: &ProcessId) -> Result<Exit> {
        Err(Error::unimplemented("wait"))
    }

    /// What the shim of `runtime` (name or path) says of itself and of its OCI runtime.
    pub async fn runtime_info(&self, runtime: &str, options: Option<Any>) -> Result<RuntimeInfo> {
        Err(Error::unimplemented("runtime info"))
    }

    /// Lets what is under way end, bounded, and takes no new tasks. Containers run on.
    pub async fn shutdown(&self) {}
}
