//! After a restart: bundles become tasks again, and what belongs to nobody goes.
//!
//! Every bundle is looked at on its own, in the background, while the API is already served. What
//! becomes of it:
//!
//! | found | done |
//! |---|---|
//! | no `bootstrap.json` | a start was cut off: its shim is ended, the bundle removed |
//! | nobody listens, its deletion is noted | a deletion was cut off: the bundle is removed |
//! | nobody listens | the shim died: its container is killed, exit and delete are published |
//! | the shim knows the task | adopted, and looked at once more |
//! | the shim does not know it, nor is it a sandbox's | a create was cut off: shim and bundle go |
//! | the shim does not answer in time | adopted all the same: it costs its own callers time, not us |

use super::{Key, Reservation, Supervisor, Task, supervisor::blocking};
use crate::{
    Exit,
    bundle::Bundle,
    shim::{Bootstrap, ShimProcess, follow_log, remove_stale_socket, shim_processes},
};
use model::{Kind, Result};
use proto::shim::containerd::task::v3 as wire;
use std::{
    collections::HashSet,
    fs,
    os::unix::fs::FileTypeExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::Semaphore, task::JoinSet, time};

/// How many bundles are looked at at once: enough that a few hung shims do not hold up the rest.
const AT_ONCE: usize = 64;
/// How long a shim may still be at what a daemon that is gone had asked of it: to create the task, or to delete it.
const AT_WORK: Duration = Duration::from_secs(2);

/// How long a shim takes at most between binding its socket and listening on it.
const STARTING: Duration = Duration::from_secs(10);

/// What became of a bundle.
enum Found {
    /// Nothing is left of it.
    Gone,
    /// It is a task; the pid of its shim, if the shim said.
    Task(Option<u32>),
}

/// Whether a sandbox of this namespace and id is on record.
pub(crate) type IsSandbox = dyn Fn(&str, &str) -> bool + Send + Sync;

impl Supervisor {
    /// Takes every bundle there is for adoption; returns at once, and the work goes on.
    ///
    /// # Errors
    /// When the bundles cannot be listed.
    pub(crate) fn adopt_all(self: &Arc<Self>, is_sandbox: &Arc<IsSandbox>) -> Result<()> {
        // Before anyone can start more of them.
        let shims = shim_processes(&self.config.address);
        let limit = Arc::new(Semaphore::new(AT_ONCE));
        let mut adoptions = JoinSet::new();
        for bundle in self.bundles.list()? {
            let key = Key { namespace: bundle.namespace.clone(), id: bundle.id.clone() };
            let reservation = self.registry.adopt(key);
            let (this, limit, is_sandbox) = (Arc::clone(self), Arc::clone(&limit), Arc::clone(is_sandbox));
            adoptions.spawn(async move {
                let _permit = limit.acquire_owned().await;
                this.adopt(bundle, reservation, is_sandbox).await
            });
        }
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let found = adoptions.join_all().await;
            this.sweep(leaked(shims, &found)).await;
        });
        Ok(())
    }

    /// Decides about one bundle.
    async fn adopt(self: Arc<Self>, bundle: Bundle, slot: Reservation, is_sandbox: Arc<IsSandbox>) -> Found {
        let bootstrap = match Bootstrap::of(&bundle) {
            Ok(bootstrap) => bootstrap,
            Err(error) => {
                tracing::info!(namespace = bundle.namespace, id = bundle.id, %error, "start was cut off: removing its bundle");
                return self.remove_remains(&bundle).await;
            }
        };
        let task = match self.reconnect(&bundle, &bootstrap).await {
            Ok(task) => Arc::new(task),
            Err(_) if bundle.is_deleted() => {
                tracing::info!(
                    namespace = bundle.namespace,
                    id = bundle.id,
                    "deletion was cut off: removing its bundle"
                );
                return self.remove_remains(&bundle).await;
            }
            Err(error) => {
                tracing::warn!(namespace = bundle.namespace, id = bundle.id, %error, "shim is gone");
                self.clean_up_bundle(&bundle, bundle.read_runtime().as_deref(), slot).await;
                return Found::Gone;
            }
        };
        let pid = self.identify(&task).await;
        let has_task = !self.is_leaked(&task).await;
        if !has_task && !is_sandbox(&bundle.namespace, &bundle.id) {
            tracing::info!(namespace = bundle.namespace, id = bundle.id, "ending a shim without a task");
            self.give_up(&task).await;
            self.remove_wreck(&bundle).await;
            return Found::Gone;
        }
        slot.fulfil(Arc::clone(&task));
        self.watch(&task);
        if has_task {
            self.look_again(&task);
        }
        Found::Task(pid)
    }

    /// A deletion that the daemon before had asked for may have been under way in the shim, which said that it has
    /// the task: nobody else would end it then.
    fn look_again(self: &Arc<Self>, task: &Arc<Task>) {
        let (this, adopted) = (Arc::clone(self), Arc::downgrade(task));
        let look = tokio::spawn(async move {
            time::sleep(AT_WORK).await;
            let Some(task) = adopted.upgrade() else { return };
            let request = wire::StateRequest { id: task.id().to_owned(), exec_id: String::new() };
            let answer = task.client().state(&request, Some(this.timeouts().load)).await;
            if answer.is_err_and(|error| error.is_not_found()) {
                tracing::info!(
                    namespace = task.bundle.namespace,
                    id = task.id(),
                    "finishing a deletion that was cut off"
                );
                // In a task of its own: the end of the task ends this one.
                tokio::spawn(async move { this.finish(&task, Exit::default(), None).await });
            }
        });
        task.own(look.abort_handle());
    }

    /// Removes a bundle without a task, and the shim it may have.
    async fn remove_remains(&self, bundle: &Bundle) -> Found {
        self.kill_strays(bundle).await;
        self.remove_wreck(bundle).await;
        Found::Gone
    }

    async fn reconnect(&self, bundle: &Bundle, bootstrap: &Bootstrap) -> Result<Task> {
        let (runtime, patience) = (bundle.read_runtime(), self.timeouts().load);
        let task = Task::connect(bundle.clone(), runtime, bootstrap, &self.connections, patience).await?;
        match follow_log(&bundle.log(), &bundle.namespace, &bundle.id) {
            Ok(log) => task.own(log),
            Err(error) => tracing::warn!(id = bundle.id, %error, "shim log is lost"),
        }
        Ok(task)
    }

    /// The shim's pid, if it answers; finds out which version of the service it speaks.
    async fn identify(&self, task: &Task) -> Option<u32> {
        let request = wire::ConnectRequest { id: task.id().to_owned() };
        let patience = Some(self.timeouts().load);
        let answer = match task.client().connect(&request, patience).await {
            Err(error) if error.kind() == Kind::Unimplemented && task.downgrade() => {
                task.client().connect(&request, patience).await
            }
            other => other,
        };
        match answer {
            Ok(answer) => Some(answer.shim_pid),
            Err(error) => {
                tracing::warn!(id = task.id(), %error, "shim does not answer; its task stays registered");
                None
            }
        }
    }

    /// Whether the shim is sure that it has no such task, nor is about to have.
    async fn is_leaked(&self, task: &Task) -> bool {
        let request = wire::StateRequest { id: task.id().to_owned(), exec_id: String::new() };
        let patience = Some(self.timeouts().load);
        let deadline = time::Instant::now() + AT_WORK;
        loop {
            match task.client().state(&request, patience).await {
                Err(error) if error.is_not_found() => {}
                _ => return false,
            }
            if time::Instant::now() >= deadline {
                return true;
            }
            time::sleep(AT_WORK / 20).await;
        }
    }

    /// Removes what has no bundle: the `leaked` shims, work directories, half-removed bundles, sockets.
    async fn sweep(&self, leaked: Vec<ShimProcess>) {
        for socket in old_sockets(&self.config.socket_dir) {
            remove_stale_socket(&format!("unix://{}", socket.display())).await;
        }
        let bundles = self.bundles.clone();
        let swept = blocking(move || {
            // One that has a bundle, of its first task, was dealt with when that was looked at.
            for shim in leaked.iter().filter(|shim| !bundles.bundle(&shim.namespace, &shim.id).exists()) {
                tracing::info!(pid = shim.pid, namespace = shim.namespace, id = shim.id, "killing a leaked shim");
                shim.kill()?;
            }
            bundles.sweep()
        });
        match swept.await {
            Ok(0) => {}
            Ok(count) => tracing::info!(count, "removed leftovers of earlier tasks"),
            Err(error) => tracing::warn!(%error, "sweep after restart"),
        }
    }
}

/// Those of the `shims` there were that serve no task. None if a task's shim did not say who it is:
/// it may serve a pod whose first container is gone.
fn leaked(mut shims: Vec<ShimProcess>, found: &[Found]) -> Vec<ShimProcess> {
    let mut in_use = HashSet::new();
    for found in found {
        match found {
            Found::Gone => {}
            Found::Task(Some(pid)) => {
                in_use.insert(*pid);
            }
            Found::Task(None) => return Vec::new(),
        }
    }
    shims.retain(|shim| !in_use.contains(&shim.pid));
    shims
}

/// The sockets in `folder` that are old enough for their shim to listen by now.
fn old_sockets(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let old = entries.filter(|entry| {
        let Ok(meta) = entry.metadata() else { return false };
        let age = meta.modified().ok().and_then(|time| time.elapsed().ok());
        meta.file_type().is_socket() && age.is_some_and(|age| age > STARTING)
    });
    old.map(|entry| entry.path()).collect()
}
