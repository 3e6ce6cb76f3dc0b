//! One container under watch: what it does now, and when to look again.

use super::{change, labels::Wishes};
use crate::{Engine, Process, ProcessId, Status, tasks::blocking};
use model::{Container, Error, Result, Scope, Timestamp};
use std::{sync::Arc, time::Duration};
use store::Store;
use tokio::{
    sync::{Semaphore, watch},
    time::{Instant, sleep_until},
};

/// The delay before a restart; it doubles with each one that follows a short run.
const FIRST_DELAY: Duration = Duration::from_millis(100);
/// The longest delay.
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A container that ran this long is well again.
const WELL: Duration = Duration::from_secs(10);
/// The exit status, to a policy, of a task that was created and did not get to run.
const NEVER_RAN: u32 = 255;

/// What all watchers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) engine: Engine,
    pub(super) store: Store,
    /// The interval of the scan, and how long a client that makes or deletes a task is left alone.
    pub(super) interval: Duration,
    /// Restarts at once.
    pub(super) limit: Semaphore,
}

/// Watches one container until it is gone or carries no labels of ours.
#[derive(Debug)]
pub(super) struct Watcher {
    pub(super) shared: Arc<Shared>,
    pub(super) scope: Scope,
    pub(super) id: String,
    backoff: Backoff,
    /// Since when there is no task, and the container's record as it was then.
    missing: Option<(Instant, Timestamp)>,
    /// Since when its task is created and not started, by pid.
    created: Option<(Instant, u32)>,
    /// Whether our last attempt failed: then no client is to be waited for.
    failed: bool,
    /// How long a client is left alone.
    settle: Duration,
    warned: bool,
}

/// When to look again.
enum Next {
    /// When something happens to the container.
    Event,
    At(Instant),
    /// Never.
    Forget,
}

impl Watcher {
    /// `at_start`: found by the first scan of a daemon. What is missing then was running before.
    pub(super) fn new(shared: Arc<Shared>, scope: Scope, id: String, at_start: bool) -> Self {
        let settle = if at_start { Duration::ZERO } else { shared.interval };
        Self {
            shared,
            scope,
            id,
            backoff: Backoff::default(),
            missing: None,
            created: None,
            failed: false,
            settle,
            warned: false,
        }
    }

    /// Looks at each poke, and answers the last one seen.
    pub(super) async fn run(mut self, mut pokes: watch::Receiver<u64>) -> u64 {
        loop {
            let seen = *pokes.borrow_and_update();
            let next = match self.look().await {
                Ok(next) => next,
                Err(error) => {
                    tracing::error!(namespace = %self.scope.namespace, container = self.id, %error, "restart monitor");
                    Next::Event
                }
            };
            let poked = match next {
                Next::Forget => return seen,
                Next::Event => pokes.changed().await,
                Next::At(due) => tokio::select! {
                    poked = pokes.changed() => poked,
                    () = sleep_until(due) => Ok(()),
                },
            };
            if poked.is_err() {
                return seen;
            }
        }
    }

    async fn look(&mut self) -> Result<Next> {
        let (store, owner, id) = (self.shared.store.clone(), self.scope.clone(), self.id.clone());
        let container = match blocking(move || store.get_container(&owner, &id)).await {
            Err(error) if error.is_not_found() => return Ok(Next::Forget),
            other => other?,
        };
        let wishes = Wishes(&container.labels);
        if wishes.status().is_empty() {
            return Ok(Next::Forget);
        }
        let task = match self.shared.engine.get_task(&self.scope, &ProcessId::init(&self.id)).await {
            Ok(task) => Some(task),
            Err(error) if error.is_not_found() => None,
            // A shim that does not answer may yet: its container is not ours to kill.
            Err(error) => return Err(error),
        };
        match wishes.status() {
            "running" => self.keep_running(container, task).await,
            "stopped" => {
                if task.is_some_and(|task| task.status != Status::Stopped) {
                    change::stop(&self.shared.engine, &self.scope, &self.id).await?;
                }
                Ok(Next::Event)
            }
            _ => Ok(Next::Event),
        }
    }

    async fn keep_running(&mut self, container: Container, task: Option<Process>) -> Result<Next> {
        let now = Instant::now();
        let status = task.as_ref().map(|task| task.status);
        if status.is_some() {
            self.missing = None;
        }
        if status != Some(Status::Created) {
            self.created = None;
        }
        // When it may be restarted, and with which status it ended.
        let (due, exit_status) = match task {
            Some(task) if task.status == Status::Stopped => (self.backoff.due(now), task.exit_status),
            // As if it had failed: whoever created it has gone.
            Some(task) if task.status == Status::Created => {
                let (since, pid) = *self.created.get_or_insert((now, task.pid));
                if pid != task.pid {
                    self.created = Some((now, task.pid));
                    return Ok(Next::At(now + self.shared.interval));
                }
                (since + self.shared.interval, NEVER_RAN)
            }
            Some(task) => {
                if task.status == Status::Running {
                    self.backoff.runs(now);
                    (self.failed, self.settle) = (false, self.shared.interval);
                }
                return Ok(Next::Event);
            }
            None if self.failed => (self.backoff.due(now), NEVER_RAN),
            None => (self.missing_since(now, container.updated_at) + self.settle, 0),
        };
        if !Wishes(&container.labels).wants_restart(exit_status)? {
            self.backoff.cancel();
            return Ok(Next::Event);
        }
        if now < due {
            return Ok(Next::At(due));
        }
        self.restart(container).await
    }

    /// Since when there is no task and nobody touched the record.
    fn missing_since(&mut self, now: Instant, updated: Timestamp) -> Instant {
        match self.missing {
            Some((since, before)) if before == updated => since,
            _ => {
                self.missing = Some((now, updated));
                now
            }
        }
    }

    async fn restart(&mut self, container: Container) -> Result<Next> {
        if Wishes(&container.labels).has_log_path() && !self.warned {
            self.warned = true;
            let container = &self.id;
            tracing::warn!(container, "label containerd.io/restart.logpath is no longer supported; use loguri");
        }
        let shared = Arc::clone(&self.shared);
        let _permit = shared.limit.acquire().await.map_err(|error| Error::internal(error.to_string()))?;
        self.backoff.restarts();
        (self.missing, self.created, self.settle) = (None, None, shared.interval);
        let started = change::start(&shared.engine, &shared.store, &self.scope, container).await;
        self.failed = started.is_err();
        match started {
            Ok(()) => {
                tracing::info!(namespace = %self.scope.namespace, container = self.id, "restarted container");
                self.backoff.runs(Instant::now());
                Ok(Next::Event)
            }
            Err(error) => {
                let due = self.backoff.due(Instant::now());
                let (namespace, container) = (&self.scope.namespace, &self.id);
                tracing::error!(%namespace, container, %error, delay = ?self.backoff.delay(), "restart failed");
                Ok(Next::At(due))
            }
        }
    }
}

/// Restarts ever more slowly what keeps failing.
#[derive(Debug, Default)]
struct Backoff {
    /// Restarts since it last ran well.
    failures: u32,
    /// Since when it runs, as far as seen.
    running: Option<Instant>,
    /// When the next restart is due.
    due: Option<Instant>,
}

impl Backoff {
    fn delay(&self) -> Duration {
        // 2^10 of the first delay is more than the longest.
        (FIRST_DELAY * (1 << self.failures.min(10))).min(LONGEST_DELAY)
    }

    /// When to restart what is seen not running.
    fn due(&mut self, now: Instant) -> Instant {
        if self.running.take().is_some_and(|since| now - since >= WELL) {
            self.failures = 0;
        }
        let due = self.due.unwrap_or(now + self.delay());
        self.due = Some(due);
        due
    }

    /// It is seen running.
    fn runs(&mut self, now: Instant) {
        self.running.get_or_insert(now);
        self.due = None;
    }

    /// A restart begins.
    fn restarts(&mut self) {
        self.failures = self.failures.saturating_add(1);
        (self.running, self.due) = (None, None);
    }

    /// No restart is wanted any more.
    fn cancel(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_a_minute_and_a_long_run_resets_them() {
        let (mut backoff, mut now, mut delays) = (Backoff::default(), Instant::now(), Vec::new());
        for _ in 0..12 {
            let due = backoff.due(now);
            assert_eq!(backoff.due(now + Duration::from_millis(1)), due, "looking again does not put it off");
            delays.push((due - now).as_millis());
            backoff.restarts();
            backoff.runs(due);
            now = due + Duration::from_secs(1);
        }
        assert_eq!(delays[..4], [100, 200, 400, 800]);
        assert_eq!(delays[9..], [51_200, 60_000, 60_000]);
        backoff.runs(now);
        let ended = now + WELL;
        assert_eq!(backoff.due(ended), ended + FIRST_DELAY);
    }
}
