//! The beginning of a task: bundle, shim, connection, container.

use super::{Key, Supervisor, Task, supervisor::blocking};
use crate::{
    CreateTask,
    bundle::{Bundle, Spec, remove},
    shim::{Bootstrap, follow_log},
};
use model::{Any, Error, Kind, Namespace, Result};
use proto::{convert::any_to_wire, shim::containerd::task::v3 as wire};
use std::{fs, path::Path, sync::Arc};

/// A task to create, with what the container's record says of it.
pub(crate) struct NewTask {
    pub(crate) namespace: Namespace,
    pub(crate) request: CreateTask,
    /// The OCI spec.
    pub(crate) spec: Option<Any>,
    /// The shim's name or path.
    pub(crate) runtime: String,
    /// The shim's options.
    pub(crate) options: Option<Any>,
    /// What it begins from, if not from nothing.
    pub(crate) checkpoint: Restore,
    /// A running shim that takes the task, in place of one of its own: `sandbox` says whose.
    pub(crate) sandbox: Option<(String, Bootstrap)>,
}

/// Fills a folder with a checkpoint's images.
pub(crate) type Unpack = Box<dyn FnOnce(&Path) -> Result<()> + Send + Sync>;

/// Where the images of a checkpoint are.
pub(crate) enum Restore {
    /// In this folder; empty: there is none.
    Folder(String),
    /// To be unpacked.
    Unpack(Unpack),
}

impl Supervisor {
    /// Creates a task; its init's pid. If the caller goes away before it has the answer, the task
    /// is taken back.
    ///
    /// # Errors
    /// `AlreadyExists` if there is one; else what the shim says.
    pub(crate) async fn create(self: &Arc<Self>, new: NewTask) -> Result<u32> {
        let (caller, answer) = tokio::sync::oneshot::channel();
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let result = this.create_whole(new).await;
            let (result, task) = match result {
                Ok((pid, task)) => (Ok(pid), Some(task)),
                Err(error) => (Err(error), None),
            };
            if caller.send(result).is_err()
                && let Some(task) = task
            {
                tracing::info!(id = task.id(), "the creator of this task went away: taking it back");
                this.take_back(&task).await;
            }
        });
        answer.await.unwrap_or_else(|error| Err(Error::internal("task worker ended early").caused_by(error)))
    }

    async fn create_whole(self: &Arc<Self>, mut new: NewTask) -> Result<(u32, Arc<Task>)> {
        let _busy = self.busy()?;
        let key = Key { namespace: new.namespace.as_str().to_owned(), id: new.request.container.clone() };
        let bundle = self.bundles.bundle(&key.namespace, &key.id);
        let reservation = self.registry.reserve(key).await?;
        let spec = match &new.spec {
            Some(spec) => Spec::parse(&bundle.id, spec)?,
            None => Spec::default(),
        };
        let (made, content, gid) = (bundle.clone(), new.spec.take(), spec.remapped_gid());
        let checkpoint = std::mem::replace(&mut new.checkpoint, Restore::Folder(String::new()));
        let checkpoint = blocking(move || {
            make(&made, content.as_ref(), gid)?;
            prepare_checkpoint(&made, checkpoint)
        })
        .await?;
        let options = new.request.options.as_ref().filter(|any| !any.value.is_empty()).or(new.options.as_ref());
        let task = match self.start_task(&bundle, &new, &spec, options).await {
            Ok(task) => Arc::new(task),
            Err(error) => {
                self.remove_bundle(&bundle).await;
                return Err(error);
            }
        };
        // Visible before the shim publishes that it exists.
        reservation.fulfil(Arc::clone(&task));
        match self.create_container(&task, &new, checkpoint, options).await {
            Ok(pid) => {
                self.watch(&task);
                Ok((pid, task))
            }
            Err(error) => {
                self.take_back(&task).await;
                Err(error.context("failed to create shim task"))
            }
        }
    }

    /// A connected shim without a container yet. On an error nothing but the bundle is left.
    async fn start_task(&self, bundle: &Bundle, new: &NewTask, spec: &Spec, options: Option<&Any>) -> Result<Task> {
        if spec.uses_idmap_mounts() {
            self.check_idmap(&new.runtime, options).await?;
        }
        let log = follow_log(&bundle.log(), &bundle.namespace, &bundle.id)?;
        match self.start_shim(bundle, new, options).await {
            Ok(task) => {
                task.own(log);
                Ok(task)
            }
            Err(error) => {
                log.abort();
                self.kill_strays(bundle).await;
                Err(error.context("failed to start shim: start failed"))
            }
        }
    }

    async fn start_shim(&self, bundle: &Bundle, new: &NewTask, options: Option<&Any>) -> Result<Task> {
        let runtime = self.runtimes.resolve(&new.runtime)?;
        bundle.write_runtime(&runtime)?;
        let bootstrap = match &new.sandbox {
            Some((sandbox, bootstrap)) => {
                bundle.write("sandbox", sandbox.as_bytes(), 0o600)?;
                bootstrap.clone()
            }
            None => self.binary(&runtime).start(bundle, options).await?,
        };
        // From here on a restarted daemon finds the shim by this file.
        bundle.write("bootstrap.json", &bootstrap.to_json(), 0o644)?;
        Task::connect(bundle.clone(), Some(runtime), &bootstrap, &self.connections, self.timeouts().start).await
    }

    async fn create_container(
        &self,
        task: &Task,
        new: &NewTask,
        checkpoint: String,
        options: Option<&Any>,
    ) -> Result<u32> {
        let request = wire::CreateTaskRequest {
            id: task.id().to_owned(),
            bundle: task.bundle.path.to_string_lossy().into_owned(),
            rootfs: new.request.rootfs.iter().cloned().map(Into::into).collect(),
            terminal: new.request.stdio.terminal,
            stdin: new.request.stdio.stdin.clone(),
            stdout: new.request.stdio.stdout.clone(),
            stderr: new.request.stdio.stderr.clone(),
            checkpoint,
            parent_checkpoint: String::new(),
            options: options.cloned().map(any_to_wire),
        };
        let timeout = Some(self.timeouts().call);
        let response = match task.client().create(&request, timeout).await {
            // A pod's shim from before version 3, under a newer binary that says 3.
            Err(error) if error.kind() == Kind::Unimplemented && task.downgrade() => {
                task.client().create(&request, timeout).await
            }
            other => other,
        }?;
        if response.pid != 0 {
            return Ok(response.pid);
        }
        let request = wire::ConnectRequest { id: task.id().to_owned() };
        Ok(task.client().connect(&request, timeout).await?.task_pid)
    }

    /// An OCI runtime ignores mount features it does not know, and a volume without its idmap has
    /// the wrong owners. So ask whether the runtime has it.
    async fn check_idmap(&self, runtime: &str, options: Option<&Any>) -> Result<()> {
        let info = self.runtime_info(runtime, options).await.map_err(|error| error.context("runtime info"))?;
        let Some(features) = info.features.filter(|any| any.type_url == FEATURES_TYPE) else { return Ok(()) };
        let features: serde_json::Value = serde_json::from_slice(&features.value)
            .map_err(|error| Error::unknown(format!("features of runtime {runtime}")).caused_by(error))?;
        if features.pointer("/linux/mountExtensions/idmap/enabled").and_then(serde_json::Value::as_bool) == Some(true) {
            return Ok(());
        }
        Err(Error::unknown(format!(
            "failed to validate OCI runtime features: idmap mounts not supported by runtime {runtime}"
        )))
    }

    /// Takes a whole task back that nobody wants.
    async fn take_back(self: &Arc<Self>, task: &Arc<Task>) {
        let Some(ending) = self.registry.begin_ending(task) else { return };
        self.give_up(task).await;
        self.remove_wreck(&task.bundle).await;
        drop(ending);
    }
}

/// Makes the bundle. One that is there, while the task's slot was free, could not be removed
/// when its task ended: that is tried again.
fn make(bundle: &Bundle, spec: Option<&Any>, remapped_gid: Option<u32>) -> Result<()> {
    match bundle.create(spec, remapped_gid) {
        Err(error) if error.is_already_exists() => {
            remove(bundle)?;
            bundle.create(spec, remapped_gid)
        }
        other => other,
    }
}

/// The folder of the checkpoint, unpacked into the work directory if need be. On an error the
/// bundle is gone.
fn prepare_checkpoint(bundle: &Bundle, checkpoint: Restore) -> Result<String> {
    let unpack = match checkpoint {
        Restore::Folder(folder) => return Ok(folder),
        Restore::Unpack(unpack) => unpack,
    };
    let folder = bundle.work().join("restore");
    let made = fs::create_dir(&folder).map_err(|error| Error::io(format!("create {}", folder.display()), error));
    match made.and_then(|()| unpack(&folder)) {
        Ok(()) => Ok(folder.to_string_lossy().into_owned()),
        Err(error) => match remove(bundle) {
            Ok(()) => Err(error),
            Err(left) => Err(error.context(format!("{left}, after"))),
        },
    }
}

/// The type of an OCI runtime's features in `-info`; its value is JSON.
const FEATURES_TYPE: &str = "types.containerd.io/opencontainers/runtime-spec/1/features/Features";
