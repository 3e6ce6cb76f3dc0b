//! Group commit: one thread runs the queued requests, all that wait in one transaction.
//!
//! While one commit waits for the disk, requests queue up for the next; so a lone writer waits for nothing
//! but its own commit, and many share one. A request that fails is left out of the transaction, as its
//! changes are kept apart until it succeeds (see `tx`); a commit that fails fails all its requests.

use super::tx::{Barrier, Changes};
use super::{Observer, RECORDS, Tx, handle::Handle, storage};
use crate::EventSink;
use model::{Error, Result};
use redb::Durability;
use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        mpsc::{SyncSender, sync_channel},
    },
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

/// Most requests of one transaction, to bound its memory and the wait of the first.
const BATCH: usize = 1024;

/// How long a commit that may wait for its sync does, at most and about.
const SOON: Duration = Duration::from_millis(100);

pub(super) struct Committer {
    queue: Arc<Queue>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Queue {
    state: Mutex<State>,
    filled: Condvar,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<Box<dyn Job>>,
    closed: bool,
}

impl Committer {
    pub(super) fn spawn(handle: Arc<Handle>, sink: Arc<dyn EventSink>, observer: Observer) -> Result<Self> {
        let queue = Arc::new(Queue::default());
        let mut worker = Worker { queue: Arc::clone(&queue), handle, sink, observer, barrier: None, unsynced: None };
        let thread = Builder::new()
            .name("metadata".into())
            .spawn(move || worker.run())
            .map_err(|error| Error::io("start the metadata thread", error))?;
        Ok(Self { queue, thread: Some(thread) })
    }

    /// Queues `work` and waits for its commit.
    pub(super) fn run<T, F>(&self, work: F) -> Result<T>
    where
        T: Send + 'static,
        F: FnOnce(&mut Tx<'_, '_>) -> Result<T> + Send + 'static,
    {
        let (reply, outcome) = sync_channel(1);
        let request = Request { work: Some(work), outcome: None, reply };
        self.queue.lock().waiting.push_back(Box::new(request));
        self.queue.filled.notify_one();
        outcome.recv().unwrap_or_else(|_| Err(Error::internal("metadata: the committing thread is gone")))
    }
}

impl Drop for Committer {
    /// Commits what is queued, then stops.
    fn drop(&mut self) {
        self.queue.lock().closed = true;
        self.queue.filled.notify_one();
        if let Some(thread) = self.thread.take() {
            // It catches the panics of requests; there is nobody to tell of another.
            let _ = thread.join();
        }
    }
}

impl Queue {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A queued request, whatever it returns.
trait Job: Send {
    /// Runs it; `false` if it failed.
    fn run(&mut self, tx: &mut Tx<'_, '_>) -> bool;

    /// Tells its caller, or that the commit failed.
    fn reply(self: Box<Self>, failure: Option<&Error>);
}

struct Request<T, F> {
    work: Option<F>,
    outcome: Option<Result<T>>,
    reply: SyncSender<Result<T>>,
}

impl<T, F> Job for Request<T, F>
where
    T: Send + 'static,
    F: FnOnce(&mut Tx<'_, '_>) -> Result<T> + Send + 'static,
{
    fn run(&mut self, tx: &mut Tx<'_, '_>) -> bool {
        let Some(work) = self.work.take() else { return false };
        let outcome = catch_unwind(AssertUnwindSafe(|| work(tx)))
            .unwrap_or_else(|_| Err(Error::internal("metadata: a request panicked")));
        self.outcome.insert(outcome).is_ok()
    }

    fn reply(self: Box<Self>, failure: Option<&Error>) {
        let outcome = match (self.outcome, failure) {
            (Some(Ok(_)) | None, Some(failure)) => Err(Error::new(failure.kind(), failure.to_string())),
            (Some(outcome), _) => outcome,
            (None, None) => Err(Error::internal("metadata: a request was not run")),
        };
        // A caller that is gone does not want to know.
        let _ = self.reply.send(outcome);
    }
}

struct Worker {
    queue: Arc<Queue>,
    handle: Arc<Handle>,
    sink: Arc<dyn EventSink>,
    observer: Observer,
    barrier: Barrier,
    /// Since when a commit is visible that is not durable yet.
    unsynced: Option<Instant>,
}

impl Worker {
    fn run(&mut self) {
        while let Some(mut batch) = self.next_batch() {
            let mut done = Vec::new();
            let committed = self.commit(&mut batch, &mut done);
            let failure = committed.err();
            if let Some(error) = &failure {
                tracing::error!(%error, requests = batch.len(), "cannot commit metadata");
                self.unsynced = None;
                if let Err(error) = self.handle.reopen() {
                    tracing::error!(%error, "metadata is not available until it can be opened again");
                }
            } else {
                for changes in &done {
                    for (namespace, event) in &changes.effects.events {
                        self.sink.publish(namespace, event.clone());
                    }
                    if changes.effects.mutated {
                        (self.observer)(&changes.effects);
                    }
                }
            }
            for job in batch {
                job.reply(failure.as_ref());
            }
        }
    }

    /// The requests that wait; an empty batch makes durable what was left for later. `None` at the end.
    fn next_batch(&self) -> Option<Vec<Box<dyn Job>>> {
        let mut state = self.queue.lock();
        while state.waiting.is_empty() {
            if state.closed {
                return self.unsynced.map(|_| Vec::new());
            }
            if self.unsynced.is_some() {
                let (woken, timeout) =
                    self.queue.filled.wait_timeout(state, SOON).unwrap_or_else(PoisonError::into_inner);
                state = woken;
                if timeout.timed_out() && state.waiting.is_empty() {
                    return Some(Vec::new());
                }
            } else {
                state = self.queue.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
        let len = state.waiting.len().min(BATCH);
        Some(state.waiting.drain(..len).collect())
    }

    /// Runs the batch in one transaction; `done` gets the changes of those that succeeded.
    fn commit(&mut self, batch: &mut [Box<dyn Job>], done: &mut Vec<Changes>) -> Result<()> {
        let mut transaction = self.handle.begin_write()?;
        {
            let mut table = transaction.open_table(RECORDS).map_err(|error| storage("open records", error))?;
            for job in batch.iter_mut() {
                let mut tx = Tx::new(&table, &mut self.barrier);
                if !job.run(&mut tx) {
                    continue;
                }
                let changes = tx.finish();
                for (key, value) in &changes.writes {
                    let written = match value {
                        Some(value) => table.insert(key.as_ref(), value.as_slice()).map(drop),
                        None => table.remove(key.as_ref()).map(drop),
                    };
                    written.map_err(|error| storage("write", error))?;
                }
                done.push(changes);
            }
        }
        let written = done.iter().any(|changes| changes.effects.mutated);
        let overdue = batch.is_empty() || self.unsynced.is_some_and(|since| since.elapsed() > SOON);
        let sync = overdue || done.iter().any(|changes| changes.sync);
        if !(written || sync && self.unsynced.is_some()) {
            return transaction.abort().map_err(|error| storage("abort", error));
        }
        let soon = written && !sync && done.iter().all(|changes| changes.soon || !changes.effects.mutated);
        if soon {
            transaction.set_durability(Durability::None).map_err(|error| storage("set durability", error))?;
        } else {
            transaction.set_quick_repair(true);
        }
        transaction.commit().map_err(|error| storage("commit", error))?;
        self.unsynced = soon.then(|| self.unsynced.unwrap_or_else(Instant::now));
        Ok(())
    }
}
