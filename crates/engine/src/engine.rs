//! The library's front door: container records joined to tasks.

use crate::{
    CreateTask, EngineConfig, Exchange, Exec, Exit, Metric, Process, ProcessId, ProcessInfo, RuntimeInfo, checkpoint,
    events::listen,
    shim::Bootstrap,
    tasks::{IsSandbox, Key, NewTask, Restore, Supervisor, Task, blocking},
};
use model::{Any, Descriptor, Error, Filter, Namespace, Result, Scope, filter::Adaptor};
use std::{borrow::Cow, collections::BTreeMap, path::Path, sync::Arc, time::Duration};
use store::Store;
use tokio::task::AbortHandle;

/// The Task service's version that came with sandboxes: such a shim takes further tasks itself.
const SANDBOX_VERSION: u32 = 3;
/// The file in the state folder that says how many clients hear events.
const AUDIENCE: &str = "event-subscribers";
/// How long a shutdown waits for tasks being created and deleted.
const DRAIN: Duration = Duration::from_secs(10);

/// Supervises containers. Cheap to clone; every clone is the same engine. Its methods must be
/// called inside a tokio runtime; dropping their futures never leaves a task half-made.
#[derive(Clone, Debug)]
pub struct Engine {
    store: Store,
    supervisor: Arc<Supervisor>,
    events: AbortHandle,
}

impl Engine {
    /// Makes the folders, listens for shims' events, and begins to adopt what an earlier daemon
    /// left running; that goes on in the background, and a request for a task waits for that
    /// task's adoption alone.
    ///
    /// # Errors
    /// `InvalidArgument` for a configuration that shims cannot work with; else the file system's.
    pub async fn open(config: EngineConfig, store: Store, exchange: Arc<Exchange>) -> Result<Self> {
        let supervisor = tokio::task::spawn_blocking(move || Supervisor::open(config, exchange))
            .await
            .unwrap_or_else(|error| Err(Error::internal("opening ended early").caused_by(error)))?;
        // Before adoption: shims keep what they could not deliver, and may try again now.
        let (address, audience) = (&supervisor.config.ttrpc_address, supervisor.config.state.join(AUDIENCE));
        let events = listen(Path::new(address), Arc::clone(&supervisor.exchange), audience, supervisor.timeouts())?;
        let records = store.clone();
        let is_sandbox: Arc<IsSandbox> = Arc::new(move |namespace, id| {
            Namespace::new(namespace).is_ok_and(|name| records.get_sandbox(&Scope::new(name), id).is_ok())
        });
        supervisor.adopt_all(&is_sandbox)?;
        Ok(Self { store, supervisor, events })
    }

    /// The bus that shims' events arrive on.
    pub fn exchange(&self) -> &Arc<Exchange> {
        &self.supervisor.exchange
    }

    /// Creates a container's task and returns its init's pid. The init does not run yet.
    ///
    /// # Errors
    /// `NotFound` without the container, `AlreadyExists` with the task, else the shim's.
    pub async fn create_task(&self, scope: &Scope, task: CreateTask) -> Result<u32> {
        let (store, owner, id) = (self.store.clone(), scope.clone(), task.container.clone());
        let container = blocking(move || store.get_container(&owner, &id)).await?;
        let checkpoint = match &task.checkpoint {
            Some(image) => Restore::Unpack(checkpoint::unpack(&self.store, scope, image)?),
            None => Restore::Folder(checkpoint::named_folder(&task)?),
        };
        let sandbox = self.sandbox(scope, &container.sandbox, &task).await?;
        let runtime = if task.runtime_path.is_empty() { container.runtime.name } else { task.runtime_path.clone() };
        let new = NewTask {
            namespace: scope.namespace.clone(),
            spec: container.spec,
            options: container.runtime.options,
            checkpoint,
            runtime,
            sandbox,
            request: task,
        };
        self.supervisor.create(new).await
    }

    /// Starts a created process and returns its pid.
    ///
    /// # Errors
    /// `NotFound` without the task, else the shim's.
    pub async fn start(&self, scope: &Scope, process: &ProcessId) -> Result<u32> {
        self.task(scope, &process.container).await?.start(process, self.patience()).await
    }

    /// Deletes a stopped task: its shim ends and its bundle goes.
    ///
    /// # Errors
    /// `FailedPrecondition` while it runs, `NotFound` without the task, else the shim's.
    pub async fn delete_task(&self, scope: &Scope, container: &str) -> Result<Exit> {
        self.supervisor.delete(self.task(scope, container).await?).await
    }

    /// Deletes a stopped exec.
    ///
    /// # Errors
    /// As [`Engine::delete_task`].
    pub async fn delete_process(&self, scope: &Scope, container: &str, exec_id: &str) -> Result<Exit> {
        if exec_id.is_empty() {
            return Err(Error::invalid_argument("exec id cannot be empty"));
        }
        self.task(scope, container).await?.delete_exec(&ProcessId::new(container, exec_id), self.patience()).await
    }

    /// The state of a process.
    ///
    /// # Errors
    /// `NotFound`; `DeadlineExceeded` when its shim does not answer.
    pub async fn get_task(&self, scope: &Scope, process: &ProcessId) -> Result<Process> {
        self.task(scope, &process.container).await?.state(process, self.supervisor.timeouts().state).await
    }

    /// The state of every task's init. Tasks whose shim does not answer in time are left out.
    ///
    /// # Errors
    /// None so far.
    pub async fn list_tasks(&self, scope: &Scope) -> Result<Vec<Process>> {
        let tasks = self.supervisor.registry.list(Some(scope.namespace.as_str())).await;
        Ok(self.supervisor.states(tasks).await)
    }

    /// Sends `signal`; `all`: to every process of the container.
    ///
    /// # Errors
    /// `NotFound` without the process or once it has ended, else the shim's.
    pub async fn kill(&self, scope: &Scope, process: &ProcessId, signal: u32, all: bool) -> Result<()> {
        self.task(scope, &process.container).await?.kill(process, signal, all, self.patience()).await
    }

    /// Adds a process to a container; [`Engine::start`] runs it.
    ///
    /// # Errors
    /// `AlreadyExists` for an id in use, `InvalidArgument` for one that is none, else the shim's.
    pub async fn exec(&self, scope: &Scope, exec: Exec) -> Result<()> {
        if exec.exec_id.is_empty() {
            return Err(Error::invalid_argument("exec id cannot be empty"));
        }
        self.task(scope, &exec.container).await?.exec(exec, self.patience()).await
    }

    /// Sets the size of a process's terminal, in characters.
    ///
    /// # Errors
    /// `NotFound`, else the shim's.
    pub async fn resize_pty(&self, scope: &Scope, process: &ProcessId, width: u32, height: u32) -> Result<()> {
        self.task(scope, &process.container).await?.resize_pty(process, (width, height), self.patience()).await
    }

    /// Closes a process's standard input.
    ///
    /// # Errors
    /// `NotFound`, else the shim's.
    pub async fn close_io(&self, scope: &Scope, process: &ProcessId) -> Result<()> {
        self.task(scope, &process.container).await?.close_io(process, self.patience()).await
    }

    /// Freezes a container.
    ///
    /// # Errors
    /// `NotFound`, else the shim's.
    pub async fn pause(&self, scope: &Scope, container: &str) -> Result<()> {
        self.task(scope, container).await?.pause(self.patience()).await
    }

    /// Thaws a container.
    ///
    /// # Errors
    /// `NotFound`, else the shim's.
    pub async fn resume(&self, scope: &Scope, container: &str) -> Result<()> {
        self.task(scope, container).await?.resume(self.patience()).await
    }

    /// The processes in a container.
    ///
    /// # Errors
    /// `NotFound`, else the shim's.
    pub async fn pids(&self, scope: &Scope, container: &str) -> Result<Vec<ProcessInfo>> {
        self.task(scope, container).await?.pids(self.patience()).await
    }

    /// Checkpoints a container into content (image, config), or into the folder that `options` name.
    ///
    /// # Errors
    /// `NotFound`, else the shim's or the store's.
    pub async fn checkpoint(&self, scope: &Scope, container: &str, options: Option<Any>) -> Result<Vec<Descriptor>> {
        let task = self.task(scope, container).await?;
        checkpoint::checkpoint(&self.store, scope, &task, options, self.patience()).await
    }

    /// Changes a running container's resource limits.
    ///
    /// # Errors
    /// `NotFound`, else the shim's.
    pub async fn update(
        &self,
        scope: &Scope,
        container: &str,
        resources: Option<Any>,
        annotations: BTreeMap<String, String>,
    ) -> Result<()> {
        self.task(scope, container).await?.update(resources, annotations, self.patience()).await
    }

    /// The resource usage of the tasks that pass one of `filters` (fields `id`, `namespace`; none: all).
    ///
    /// # Errors
    /// `InvalidArgument` for a filter that does not parse.
    pub async fn metrics(&self, scope: &Scope, filters: &[String]) -> Result<Vec<Metric>> {
        let filter = Filter::parse(filters)?;
        let mut tasks = self.supervisor.registry.list(Some(scope.namespace.as_str())).await;
        tasks.retain(|task| filter.matches(&**task));
        Ok(self.supervisor.all_stats(tasks).await)
    }

    /// Waits for a process to end, as long as that takes.
    ///
    /// # Errors
    /// `NotFound`, else the shim's.
    pub async fn wait(&self, scope: &Scope, process: &ProcessId) -> Result<Exit> {
        self.task(scope, &process.container).await?.wait(process).await
    }

    /// What the shim of `runtime` (name or path) says of itself and of its OCI runtime.
    ///
    /// # Errors
    /// `Unknown`, naming the runtime, when there is no such shim or it does not answer.
    pub async fn runtime_info(&self, runtime: &str, options: Option<Any>) -> Result<RuntimeInfo> {
        self.supervisor.runtime_info(runtime, options.as_ref()).await
    }

    /// Lets what is under way end, bounded, and takes no new tasks. Containers run on.
    pub async fn shutdown(&self) {
        self.exchange().dismiss_clients();
        self.supervisor.drain(DRAIN).await;
        self.events.abort();
    }

    async fn task(&self, scope: &Scope, container: &str) -> Result<Arc<Task>> {
        let key = Key { namespace: scope.namespace.as_str().to_owned(), id: container.to_owned() };
        match self.supervisor.registry.get(&key).await {
            Ok(task) => Ok(task),
            Err(no_task) => {
                // Say so if it is the container that does not exist.
                let (store, owner) = (self.store.clone(), scope.clone());
                blocking(move || store.get_container(&owner, &key.id)).await?;
                Err(no_task)
            }
        }
    }

    /// The running shim that takes `task`, if its container belongs to a sandbox whose shim can.
    async fn sandbox(&self, scope: &Scope, sandbox: &str, task: &CreateTask) -> Result<Option<(String, Bootstrap)>> {
        if sandbox.is_empty() {
            return Ok(None);
        }
        let (store, owner, id) = (self.store.clone(), scope.clone(), sandbox.to_owned());
        match blocking(move || store.get_sandbox(&owner, &id)).await {
            Ok(_) => {}
            // A pod that an older daemon started has no record; its containers are grouped by annotation.
            Err(error) if error.is_not_found() => return Ok(None),
            Err(error) => return Err(error),
        }
        let bootstrap = if task.task_api_address.is_empty() {
            let shim = self.task(scope, sandbox).await;
            let shim = shim.map_err(|error| error.context(format!("can't find shim for sandbox {sandbox}")))?;
            Bootstrap::of(&shim.bundle)?
        } else {
            Bootstrap::from_address(&task.task_api_address, task.task_api_version)?
        };
        // An older shim cleans up by its binary, so each of its containers has a bundle begun by it.
        Ok((bootstrap.version >= SANDBOX_VERSION).then(|| (sandbox.to_owned(), bootstrap)))
    }

    fn patience(&self) -> Duration {
        self.supervisor.timeouts().call
    }
}

impl Adaptor for Task {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        match path.first()?.as_str() {
            "id" => Some(Cow::Borrowed(self.id())),
            "namespace" => Some(Cow::Borrowed(self.bundle.namespace.as_str())),
            _ => None,
        }
    }
}
