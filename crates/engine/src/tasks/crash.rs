//! A shim that died: its container is killed, and everyone is told.

use super::{Reservation, Supervisor, Task};
use crate::{
    Exit,
    bundle::Bundle,
    shim::{Bootstrap, remove_stale_socket},
};
use model::{Event, Timestamp};
use std::{path::Path, sync::Arc};

/// The exit status of a task whose end nobody saw, not even `shim delete`.
const UNSEEN: u32 = 255;

impl Supervisor {
    /// Cleans up once the connection to the task's shim ends, unless it is deleted before.
    pub(super) fn watch(self: &Arc<Self>, task: &Arc<Task>) {
        let (this, watched) = (Arc::clone(self), Arc::clone(task));
        let watch = tokio::spawn(async move {
            watched.shim.connection.closed().await;
            if let Some(ending) = this.registry.begin_ending(&watched) {
                tracing::warn!(namespace = watched.bundle.namespace, id = watched.id(), "shim disconnected");
                // In a task of its own: the end of the watched task ends this one.
                tokio::spawn(async move { this.clean_up(&watched, ending).await });
            }
        });
        task.own(watch.abort_handle());
    }

    async fn clean_up(self: &Arc<Self>, task: &Task, ending: Reservation) {
        let exit = self.clean_up_bundle(&task.bundle, task.runtime.as_deref(), ending).await;
        task.end(exit);
    }

    /// Removes what a dead shim left in `bundle`, empties its slot, then publishes how its task ended.
    pub(super) async fn clean_up_bundle(
        self: &Arc<Self>,
        bundle: &Bundle,
        runtime: Option<&Path>,
        ending: Reservation,
    ) -> Exit {
        // Even while shutting down: what is begun here is what the next start would do.
        let _busy = self.busy();
        // Dead to us, but perhaps not dead: a hung shim would come back to its container's ashes.
        self.kill_strays(bundle).await;
        if let Ok(bootstrap) = Bootstrap::of(bundle) {
            remove_stale_socket(&bootstrap.address).await;
        }
        let exit = self.delete_by_binary(bundle, runtime).await;
        self.remove_wreck(bundle).await;
        drop(ending);
        self.emit(
            bundle,
            Event::TaskExit {
                container_id: bundle.id.clone(),
                id: bundle.id.clone(),
                pid: exit.pid,
                exit_status: exit.status,
                exited_at: exit.at.unwrap_or_default(),
            },
        );
        self.emit_deletion(bundle, exit);
        exit
    }

    /// Publishes in the shim's place that the task is deleted.
    pub(super) fn emit_deletion(&self, bundle: &Bundle, exit: Exit) {
        self.emit(
            bundle,
            Event::TaskDelete {
                container_id: bundle.id.clone(),
                id: String::new(),
                pid: exit.pid,
                exit_status: exit.status,
                exited_at: exit.at.unwrap_or_default(),
            },
        );
    }

    /// Has the shim's binary kill and remove the container.
    async fn delete_by_binary(&self, bundle: &Bundle, runtime: Option<&Path>) -> Exit {
        let unseen = Exit { pid: 0, status: UNSEEN, at: Some(Timestamp::now()) };
        let Some(runtime) = runtime else { return unseen };
        match self.binary(runtime).delete(bundle).await {
            Ok(exit) => Exit { at: exit.at.or(unseen.at), ..exit },
            Err(error) => {
                tracing::warn!(namespace = bundle.namespace, id = bundle.id, %error, "failed to clean up after a dead shim");
                unseen
            }
        }
    }
}
