//! When to collect: containerd's scheduler, as a thread that sleeps while there is nothing to do.

use super::{Dirty, GcConfig, GcStats, collect, files::Cleaner};
use crate::{db::Effects, store::Core};
use model::{Error, Kind, Result};
use std::{
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::{Builder, JoinHandle},
    time::{Duration, Instant},
};

/// The least time a collection is taken to last when the next is scheduled.
const LEAST: Duration = Duration::from_millis(5);

/// What requests tell the scheduler.
#[derive(Debug, Default)]
pub(crate) struct Signal {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    deletions: u32,
    mutations: u32,
    dirty: Dirty,
    /// A count at which the scheduler wants to be woken, beside the first deletion.
    wake_at_deletions: u32,
    wake_at_mutations: u32,
    triggered: bool,
    closed: bool,
    /// Collections begun and ended.
    begun: u64,
    ended: u64,
    outcome: Option<Result<GcStats, (Kind, String)>>,
}

impl Signal {
    /// Notes what a request did. Called on the committing thread.
    pub(crate) fn committed(&self, effects: &Effects) {
        if effects.by_collector {
            return;
        }
        let mut state = self.lock();
        let had_deletions = state.deletions > 0;
        state.mutations = state.mutations.saturating_add(1);
        state.deletions = state.deletions.saturating_add(effects.deletions);
        state.dirty.content |= effects.content;
        state.dirty.snapshotters.extend(effects.snapshotters.iter().cloned());
        let wake = (!had_deletions && state.deletions > 0)
            || state.mutations == state.wake_at_mutations
            || (effects.deletions > 0 && state.deletions >= state.wake_at_deletions && state.wake_at_deletions > 0);
        drop(state);
        if wake {
            self.changed.notify_all();
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>, until: Option<Instant>) -> MutexGuard<'a, State> {
        match until {
            None => self.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            Some(until) => {
                let timeout = until.saturating_duration_since(Instant::now());
                self.changed.wait_timeout(state, timeout).unwrap_or_else(PoisonError::into_inner).0
            }
        }
    }
}

/// The thread that collects.
#[derive(Debug)]
pub(crate) struct Scheduler {
    signal: Arc<Signal>,
    thread: Option<JoinHandle<()>>,
}

impl Scheduler {
    /// Starts it. Without `config` it collects only when asked.
    pub(crate) fn spawn(core: Arc<Core>, signal: Arc<Signal>, config: Option<GcConfig>) -> Result<Self> {
        let automatic = config.is_some();
        let config = config.unwrap_or_default();
        {
            let mut state = signal.lock();
            state.wake_at_deletions = config.deletion_threshold;
            state.wake_at_mutations = config.mutation_threshold;
            // A crash may have left files of anything.
            state.dirty.content = true;
            state.dirty.snapshotters = core.snapshotters.iter().map(|snapshotter| snapshotter.name.clone()).collect();
        }
        let files = Cleaner::new(config.backend_timeout);
        let mut worker = Worker { core, signal: Arc::clone(&signal), files, plan: Plan::new(config, automatic) };
        let thread = Builder::new()
            .name("gc".into())
            .spawn(move || worker.run())
            .map_err(|error| Error::io("start the garbage collector", error))?;
        Ok(Self { signal, thread: Some(thread) })
    }

    /// Has a collection run from begin to end, and waits for it. Callers that wait together share one.
    pub(crate) fn collect(&self) -> Result<GcStats> {
        let mut state = self.signal.lock();
        let wanted = state.begun + 1;
        state.triggered = true;
        self.signal.changed.notify_all();
        while state.ended < wanted {
            if state.closed {
                return Err(Error::unavailable("garbage collection: the store is being closed"));
            }
            state = self.signal.wait(state, None);
        }
        match &state.outcome {
            Some(Ok(stats)) => Ok(stats.clone()),
            Some(Err((kind, text))) => Err(Error::new(*kind, format!("garbage collection failed: {text}"))),
            None => Err(Error::internal("garbage collection: no outcome")),
        }
    }
}

impl Drop for Scheduler {
    /// Waits for a running collection, which its deadline bounds.
    fn drop(&mut self) {
        self.signal.lock().closed = true;
        self.signal.changed.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Worker {
    core: Arc<Core>,
    signal: Arc<Signal>,
    files: Cleaner,
    plan: Plan,
}

impl Worker {
    fn run(&mut self) {
        while let Some(mut dirty) = self.next() {
            let start = Instant::now();
            let outcome = collect(&self.core, &self.files, &mut dirty);
            if let Err(error) = &outcome {
                tracing::error!(%error, "garbage collection failed");
            }
            self.plan.collected(start, outcome.as_ref().map(|stats| stats.metadata).ok());
            let mut state = self.signal.lock();
            state.dirty.content |= dirty.content;
            state.dirty.snapshotters.append(&mut dirty.snapshotters);
            state.ended += 1;
            state.outcome = Some(outcome.map_err(|error| (error.kind(), error.to_string())));
            self.signal.changed.notify_all();
        }
    }

    /// Waits for the next collection to be due, and takes what there is to clean up. `None` at the end.
    fn next(&mut self) -> Option<Dirty> {
        let mut state = self.signal.lock();
        loop {
            if state.closed {
                return None;
            }
            let due = self.plan.due(state.triggered, state.deletions, state.mutations);
            if due.is_some_and(|due| due <= Instant::now()) {
                (state.triggered, state.deletions, state.mutations) = (false, 0, 0);
                state.begun += 1;
                self.plan.scheduled = None;
                return Some(std::mem::take(&mut state.dirty));
            }
            state = self.signal.wait(state, due);
        }
    }
}

/// The rules.
#[derive(Debug)]
struct Plan {
    config: GcConfig,
    automatic: bool,
    /// When a trigger has set the next one for.
    scheduled: Option<Instant>,
    /// Before when mere need does not collect, so that collecting takes no more of the time than allowed.
    not_before: Option<Instant>,
    /// The first, whether there is a need or not.
    first: Option<Instant>,
    total: Duration,
    collections: u32,
}

impl Plan {
    fn new(config: GcConfig, automatic: bool) -> Self {
        let first = (automatic && !config.startup_delay.is_zero()).then(|| Instant::now() + config.startup_delay);
        let total = Duration::ZERO;
        Self { config, automatic, scheduled: None, not_before: first, first, total, collections: 0 }
    }

    /// When to collect next, if ever.
    fn due(&mut self, triggered: bool, deletions: u32, mutations: u32) -> Option<Instant> {
        let GcConfig { deletion_threshold, mutation_threshold, schedule_delay, .. } = self.config;
        let many = self.automatic && deletion_threshold > 0 && deletions >= deletion_threshold;
        let needed = self.automatic && (deletions > 0 || (mutation_threshold > 0 && mutations >= mutation_threshold));
        if triggered || many || (needed && self.not_before.is_none()) {
            self.scheduled.get_or_insert_with(|| Instant::now() + schedule_delay);
        }
        [self.scheduled, self.first, self.not_before.filter(|_| needed)].into_iter().flatten().min()
    }

    /// Notes a collection that began at `start`; `took` is `None` if it failed.
    fn collected(&mut self, start: Instant, took: Option<Duration>) {
        self.first = None;
        let mut pause = Duration::from_secs(1);
        if let Some(took) = took {
            self.total += took;
            self.collections += 1;
            let share = self.config.pause_threshold.clamp(0.0, 0.5);
            if share > 0.0 {
                let average = (self.total / self.collections).max(LEAST);
                pause = average.div_f64(share).saturating_sub(average);
            }
        } else {
            pause += start.elapsed();
        }
        self.not_before = Some(Instant::now() + pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_need_waits_for_its_share_of_time_and_a_trigger_does_not() {
        let mut plan = Plan::new(GcConfig { startup_delay: Duration::ZERO, ..GcConfig::default() }, true);
        assert_eq!(plan.due(false, 0, 99), None);
        assert!(plan.due(false, 0, 100).is_some_and(|due| due <= Instant::now()));
        plan.scheduled = None;
        let before = Instant::now();
        plan.collected(before, Some(Duration::from_millis(10)));
        let (after, pause) = (Instant::now(), Duration::from_millis(490));
        let later = plan.due(false, 1, 0).unwrap();
        assert!(later >= before + pause && later <= after + pause, "{later:?} after {before:?}");
        assert_eq!(plan.due(false, 0, 1), None);
        assert!(plan.due(true, 0, 0).is_some_and(|due| due <= Instant::now()));
    }

    #[test]
    fn without_a_schedule_only_a_trigger_counts() {
        let mut plan = Plan::new(GcConfig::default(), false);
        assert_eq!(plan.due(false, 1000, 1000), None);
        assert!(plan.due(true, 0, 0).is_some());
    }
}
