//! The orderly end of a task, and of a shim that was begun in vain.

use super::{
    Supervisor, Task,
    supervisor::{blocking, detached},
};
use crate::{
    Exit, Subscription,
    bundle::{Bundle, remove, remove_cgroups},
    shim::shim_processes,
};
use client::shim::is_closed;
use model::{Error, Result};
use proto::{convert::timestamp_from_wire, shim::containerd::task::v3 as wire};
use std::{sync::Arc, time::Duration};
use tokio::time;

impl Supervisor {
    /// Deletes a stopped task with its shim and bundle; how it had ended. Goes to its end even if
    /// the caller goes away.
    ///
    /// # Errors
    /// The shim's: `FailedPrecondition` while it runs.
    pub(crate) async fn delete(self: &Arc<Self>, task: Arc<Task>) -> Result<Exit> {
        let (busy, this) = (self.busy()?, Arc::clone(self));
        detached(async move {
            let result = this.delete_whole(&task).await;
            drop(busy);
            result
        })
        .await
    }

    async fn delete_whole(self: &Arc<Self>, task: &Arc<Task>) -> Result<Exit> {
        let deletion = self.exchange.subscribe(&[deletion_of(task)])?;
        match self.delete_container(task).await {
            Ok(exit) => {
                self.finish(task, exit, Some(deletion)).await;
                Ok(exit)
            }
            // The shim died with the container: whoever noticed is cleaning up, and knows how it ended.
            Err(error) if is_closed(&error) => Ok(task.ended().await),
            Err(error) => {
                if error.is_not_found() {
                    // A shim without the container serves nothing.
                    self.finish(task, Exit::default(), None).await;
                }
                Err(error.context("failed to delete task"))
            }
        }
    }

    async fn delete_container(&self, task: &Task) -> Result<Exit> {
        let request = wire::DeleteRequest { id: task.id().to_owned(), exec_id: String::new() };
        let response = task.client().delete(&request, Some(self.timeouts().call)).await?;
        let at = response.exited_at.map(|time| timestamp_from_wire(Some(time)));
        Ok(Exit { pid: response.pid, status: response.exit_status, at })
    }

    /// Ends the shim of a deleted container, then removes the bundle: a bundle outlives its shim,
    /// so that after a crash of ours the one leads to the other.
    ///
    /// Go's shim, told to end, gives up events it has not yet sent. So it is not told before its
    /// last one, of the `deletion`, has arrived; and if that never does, it is published here. If it did, that is
    /// noted, as a daemon after us that finds the shim gone would take it for a crash, and tell everyone.
    pub(super) async fn finish(self: &Arc<Self>, task: &Arc<Task>, exit: Exit, deletion: Option<Subscription>) {
        let Some(ending) = self.registry.begin_ending(task) else { return };
        let missed = match deletion {
            None => false,
            Some(mut deletion) => {
                self.exchange.shims_heard(self.timeouts().subscribers).await;
                let missed = time::timeout(self.timeouts().deletion, deletion.next()).await.is_err();
                if !missed && let Err(error) = task.bundle.note_deleted() {
                    tracing::debug!(id = task.id(), %error, "after a crash of ours its end is published twice");
                }
                missed
            }
        };
        self.end_shim(task).await;
        self.remove_bundle(&task.bundle).await;
        task.end(exit);
        drop(ending);
        if missed {
            tracing::warn!(id = task.id(), "shim ended without having published its task's deletion");
            self.emit_deletion(&task.bundle, exit);
        }
    }

    /// Asks the shim to end, and ends it if it does not. One that serves other tasks stays.
    pub(super) async fn end_shim(&self, task: &Task) {
        let patience = self.timeouts().shutdown;
        let request = wire::ShutdownRequest { id: task.id().to_owned(), ..Default::default() };
        let asked = task.client().shutdown(&request, Some(patience)).await;
        if !task.is_alone() {
            return;
        }
        let closed = time::timeout(patience, task.shim.connection.closed()).await;
        if closed.is_err() {
            let reason = asked.err().map_or_else(|| "it stayed".to_owned(), |error| error.to_string());
            tracing::warn!(id = task.id(), reason, "shim did not end when asked to and is killed");
            self.kill_strays(&task.bundle).await;
        }
    }

    /// Ends a shim whose container was not wanted or never came to be, and whatever the container
    /// left. The bundle stays; the task must be nobody else's.
    pub(super) async fn give_up(&self, task: &Task) {
        let patience = Some(self.timeouts().cleanup);
        let request = wire::KillRequest { id: task.id().to_owned(), signal: 9, all: true, ..Default::default() };
        if task.client().kill(&request, patience).await.is_ok() {
            let request = wire::WaitRequest { id: task.id().to_owned(), ..Default::default() };
            let _ended = task.client().wait(&request, patience).await;
        }
        let request = wire::DeleteRequest { id: task.id().to_owned(), exec_id: String::new() };
        let deleted = task.client().delete(&request, patience).await;
        self.end_shim(task).await;
        if let (Err(_), Some(runtime)) = (deleted, &task.runtime) {
            let cleaned = self.binary(runtime).delete(&task.bundle).await;
            tracing::debug!(id = task.id(), ?cleaned, "shim delete after a failed create");
        }
        task.end(Exit::default());
    }

    /// Removes a bundle, where failure can only be noted: the next start tries again.
    pub(super) async fn remove_bundle(&self, bundle: &Bundle) {
        let gone = bundle.clone();
        if let Err(error) = blocking(move || remove(&gone)).await {
            tracing::warn!(namespace = bundle.namespace, id = bundle.id, %error, "bundle is left behind");
        }
    }

    /// The same for a container that was cut off, whose runtime may have been too.
    pub(super) async fn remove_wreck(&self, bundle: &Bundle) {
        let wreck = bundle.clone();
        let removed = blocking(move || {
            remove_cgroups(&wreck);
            remove(&wreck)
        });
        if let Err(error) = removed.await {
            tracing::warn!(namespace = bundle.namespace, id = bundle.id, %error, "bundle is left behind");
        }
    }

    /// Kills the shims started for `bundle`, if there are any: they did not end by themselves.
    pub(super) async fn kill_strays(&self, bundle: &Bundle) {
        let (bundle, address) = (bundle.clone(), self.config.address.clone());
        let killed = blocking(move || kill_strays(&bundle, &address)).await;
        if let Err(error) = killed {
            tracing::warn!(%error, "stray shim");
        }
    }
}

/// The filter that only the event of this task's deletion passes.
fn deletion_of(task: &Task) -> String {
    let (namespace, id) = (&task.bundle.namespace, task.id());
    format!("topic==\"/tasks/delete\",namespace==\"{namespace}\",event.container_id==\"{id}\"")
}

/// `<shim> start` may fork as it is killed: look until nothing is left, a few times.
fn kill_strays(bundle: &Bundle, address: &str) -> Result<()> {
    const ROUNDS: usize = 20;
    for _ in 0..ROUNDS {
        let mut strays = shim_processes(address);
        strays.retain(|process| process.namespace == bundle.namespace && process.id == bundle.id);
        if strays.is_empty() {
            return Ok(());
        }
        for stray in &strays {
            tracing::info!(pid = stray.pid, id = stray.id, namespace = stray.namespace, "killing a stray shim");
            stray.kill()?;
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    Err(Error::deadline_exceeded(format!("shims of task {} keep coming", bundle.id)))
}
