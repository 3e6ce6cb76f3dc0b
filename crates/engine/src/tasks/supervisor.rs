//! What every task has in common.

use super::Registry;
use crate::{
    EngineConfig, Exchange, RuntimeInfo, Timeouts,
    bundle::{Bundle, Bundles},
    shim::{Binary, Connections, Runtimes},
};
use model::{Any, Error, Namespace, Result};
use std::{path::Path, sync::Arc, time::Duration};
use tokio::{sync::watch, time};

/// Runs shims and keeps watch over them. Knows nothing of container records.
#[derive(Debug)]
pub(crate) struct Supervisor {
    pub(crate) config: EngineConfig,
    pub(crate) exchange: Arc<Exchange>,
    pub(crate) registry: Arc<Registry>,
    pub(super) bundles: Bundles,
    pub(crate) runtimes: Runtimes,
    pub(super) connections: Connections,
    /// Creations and deletions under way.
    work: watch::Sender<Work>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Work {
    count: usize,
    closed: bool,
}

/// Something that must not be cut off by a shutdown. Dropped, it is done.
#[derive(Debug)]
pub(super) struct Busy(Arc<Supervisor>);

impl Supervisor {
    /// Makes the folders; touches no shim yet.
    ///
    /// # Errors
    /// `InvalidArgument` for a socket folder that shims cannot use; else the file system's.
    pub(crate) fn open(config: EngineConfig, exchange: Arc<Exchange>) -> Result<Arc<Self>> {
        let folder = &config.socket_dir;
        if !folder.is_absolute() {
            return Err(Error::invalid_argument(format!("socket_dir must be an absolute path: {folder:?}")));
        }
        if folder.as_os_str().len() > EngineConfig::MAX_SOCKET_DIR {
            return Err(Error::invalid_argument(format!(
                "socket_dir length must be no longer than {} characters: {folder:?}",
                EngineConfig::MAX_SOCKET_DIR
            )));
        }
        Ok(Arc::new(Self {
            bundles: Bundles::open(&config.root, &config.state)?,
            runtimes: Runtimes::new(config.search.clone()),
            connections: Connections::default(),
            registry: Arc::default(),
            work: watch::Sender::new(Work::default()),
            exchange,
            config,
        }))
    }

    pub(crate) fn timeouts(&self) -> &Timeouts {
        &self.config.timeouts
    }

    pub(super) fn binary(&self, path: &Path) -> Binary<'_> {
        Binary { path: path.to_owned(), config: &self.config, runtimes: &self.runtimes }
    }

    /// What the shim of `runtime` says of itself.
    ///
    /// # Errors
    /// When there is no such shim, or it does not say.
    pub(crate) async fn runtime_info(&self, runtime: &str, options: Option<&Any>) -> Result<RuntimeInfo> {
        let path = self.runtimes.resolve(runtime).map_err(|error| error.context("failed to resolve runtime path"))?;
        self.binary(&path).info(options).await
    }

    /// A mark that work is under way.
    ///
    /// # Errors
    /// `Unavailable` once the engine shuts down.
    pub(super) fn busy(self: &Arc<Self>) -> Result<Busy> {
        let mut accepted = false;
        self.work.send_modify(|work| {
            accepted = !work.closed;
            work.count += usize::from(accepted);
        });
        if accepted { Ok(Busy(Arc::clone(self))) } else { Err(Error::unavailable("the daemon is shutting down")) }
    }

    /// Takes no new work, and waits for what is under way, at most `patience`.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.work.send_modify(|work| work.closed = true);
        let mut work = self.work.subscribe();
        let done = work.wait_for(|work| work.count == 0);
        if time::timeout(patience, done).await.is_err() {
            tracing::warn!("shutting down with tasks being created or deleted; the next start cleans up");
        }
    }

    /// Publishes `event` of the task in `bundle`.
    pub(super) fn emit(&self, bundle: &Bundle, event: model::Event) {
        match Namespace::new(bundle.namespace.as_str()) {
            Ok(namespace) => self.exchange.emit(&namespace, event),
            Err(error) => tracing::warn!(%error, "event of a bundle outside any namespace"),
        }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.work.send_modify(|work| work.count -= 1);
    }
}

/// Runs `work` to its end even if the caller goes away: a half-made task is nobody's.
pub(super) async fn detached<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    tokio::spawn(work).await.unwrap_or_else(|error| Err(Error::internal("task worker ended early").caused_by(error)))
}

/// Runs `work`, which waits for the disk, where waiting is allowed.
pub(crate) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|error| Err(Error::internal("blocking worker ended early").caused_by(error)))
}
