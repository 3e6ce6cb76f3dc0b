//! A running shim's task, as the daemon holds it.

use super::Key;
use crate::{
    Exit,
    bundle::Bundle,
    shim::{Bootstrap, Connections, Shared},
};
use client::shim::TaskClient;
use model::Result;
use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, task::AbortHandle};

/// A live task. Small, as there may be thousands: a connection that its pod shares, a fifo, a path.
#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) bundle: Bundle,
    /// The shim's binary, for `delete`; unknown only in bundles of very old daemons.
    pub(crate) runtime: Option<PathBuf>,
    pub(crate) shim: Arc<Shared>,
    client: Mutex<TaskClient>,
    /// How it ended, once it is gone from the registry.
    ended: watch::Sender<Option<Exit>>,
    /// Work of its own that ends with it: the copy of its log, the watch on its connection.
    background: Mutex<Vec<AbortHandle>>,
}

impl Task {
    /// Connects to the shim that `bootstrap` names.
    ///
    /// # Errors
    /// Those of the connection.
    pub(super) async fn connect(
        bundle: Bundle,
        runtime: Option<PathBuf>,
        bootstrap: &Bootstrap,
        connections: &Connections,
        timeout: Duration,
    ) -> Result<Self> {
        let shim = connections.to(bootstrap, timeout).await?;
        let client = TaskClient::new(Arc::clone(&shim.connection), bootstrap.version, &bundle.namespace)?;
        Ok(Self {
            bundle,
            runtime,
            shim,
            client: Mutex::new(client),
            ended: watch::Sender::new(None),
            background: Mutex::default(),
        })
    }

    pub(crate) fn key(&self) -> Key {
        Key { namespace: self.bundle.namespace.clone(), id: self.bundle.id.clone() }
    }

    pub(crate) fn id(&self) -> &str {
        &self.bundle.id
    }

    /// The shim's Task service.
    pub(crate) fn client(&self) -> TaskClient {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Speaks the older version of the service from now on; `false` if it does already.
    pub(super) fn downgrade(&self) -> bool {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match client.downgraded() {
            Some(older) => {
                *client = older;
                true
            }
            None => false,
        }
    }

    /// Ends `work` when the task ends.
    pub(super) fn own(&self, work: AbortHandle) {
        self.background.lock().unwrap_or_else(PoisonError::into_inner).push(work);
    }

    /// Whether no other task uses the same shim.
    pub(super) fn is_alone(&self) -> bool {
        Arc::strong_count(&self.shim) == 1
    }

    /// Notes that the task is gone, and how it ended.
    pub(super) fn end(&self, exit: Exit) {
        for work in self.background.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            work.abort();
        }
        self.ended.send_replace(Some(exit));
    }

    /// Waits until the task is gone; how it ended.
    pub(super) async fn ended(&self) -> Exit {
        let mut ended = self.ended.subscribe();
        // An error would mean that the sender is gone, and `self` holds it.
        match ended.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or_default(),
            Err(_) => Exit::default(),
        }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        for work in self.background.get_mut().unwrap_or_else(PoisonError::into_inner).drain(..) {
            work.abort();
        }
    }
}
