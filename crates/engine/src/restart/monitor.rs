//! Who is watched, and who is woken by what.

use super::{
    labels::{STATUS, Wishes},
    watcher::{Shared, Watcher},
};
use crate::{Engine, Subscription, tasks::blocking};
use model::{Envelope, Event, Filter, Namespace, Result, Scope};
use proto::convert::{any_to_wire, event_from_wire};
use std::{collections::HashMap, sync::Arc, time::Duration};
use store::Store;
use tokio::{
    sync::{Semaphore, watch},
    task::{Id, JoinHandle, JoinSet},
    time::{self, Instant, MissedTickBehavior},
};

/// Restarts at once. A host full of containers comes back in order, not in a stampede.
const AT_ONCE: usize = 16;
/// As good as never, and still a time that a clock can show.
const LONGEST_INTERVAL: Duration = Duration::from_secs(365 * 24 * 3600);
/// What may change what a container should be doing, or does.
const TOPICS: [&str; 5] =
    ["/tasks/exit", "/tasks/delete", "/containers/create", "/containers/update", "/containers/delete"];

/// The monitor at work. Stopped when dropped; containers stay as they are then.
#[derive(Debug)]
pub struct RestartMonitor(JoinHandle<()>);

impl RestartMonitor {
    /// containerd's interval between scans.
    pub const INTERVAL: Duration = Duration::from_secs(10);

    /// Watches the containers of `store` from now on, the scan every `interval` (0: containerd's).
    /// Those whose task is still being adopted are looked at once it is.
    ///
    /// Containers on record by now ran before the daemon did, and are restarted without delay. That is why the first
    /// scan ends before this returns: a client's first container is not among them.
    ///
    /// # Errors
    /// Those of the store.
    pub async fn start(engine: Engine, store: Store, interval: Duration) -> Result<Self> {
        let interval = if interval.is_zero() { Self::INTERVAL } else { interval.min(LONGEST_INTERVAL) };
        // Before the first scan: nothing falls in between.
        let events = subscribe(&engine)?;
        let shared = Arc::new(Shared { engine, store, interval, limit: Semaphore::new(AT_ONCE) });
        let mut monitor = Monitor { shared, watched: HashMap::new(), watchers: JoinSet::new(), keys: HashMap::new() };
        monitor.scan(true).await?;
        Ok(Self(tokio::spawn(async move { monitor.run(events).await })))
    }
}

impl Drop for RestartMonitor {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn subscribe(engine: &Engine) -> Result<Subscription> {
    engine.exchange().subscribe(&TOPICS.map(|topic| format!("topic==\"{topic}\"")))
}

/// A container, across namespaces.
type Key = (Namespace, String);

struct Monitor {
    shared: Arc<Shared>,
    /// The number of pokes each watcher got.
    watched: HashMap<Key, watch::Sender<u64>>,
    watchers: JoinSet<u64>,
    keys: HashMap<Id, Key>,
}

impl Monitor {
    async fn run(&mut self, mut events: Subscription) {
        let interval = self.shared.interval;
        let mut scan = time::interval_at(Instant::now() + interval, interval);
        scan.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Ok(envelope) => self.hear(&envelope),
                    Err(error) => {
                        tracing::warn!(%error, "restart monitor missed events and scans");
                        match subscribe(&self.shared.engine) {
                            Ok(again) => events = again,
                            Err(error) => return tracing::error!(%error, "restart monitor ended"),
                        }
                        scan.reset_immediately();
                    }
                },
                Some(ended) = self.watchers.join_next_with_id() => match ended {
                    Ok((task, seen)) => self.ended(task, Some(seen)),
                    Err(error) => {
                        tracing::error!(%error, "restart monitor's watcher ended early");
                        self.ended(error.id(), None);
                    }
                },
                _ = scan.tick() => {
                    if let Err(error) = self.scan(false).await {
                        tracing::error!(%error, "restart monitor's scan");
                    }
                }
            }
        }
    }

    /// Pokes who the event concerns; a container's creation or new labels may make it watched.
    fn hear(&mut self, envelope: &Envelope) {
        let Some(event) = event_from_wire(&any_to_wire(envelope.event.clone())) else { return };
        let (id, may_begin) = match event {
            Event::TaskExit { container_id, id, .. } if id == container_id => (id, false),
            Event::TaskDelete { container_id, .. } => (container_id, false),
            Event::ContainerCreate { id, .. } => (id, true),
            Event::ContainerUpdate { id, labels, .. } => (id, !Wishes(&labels).status().is_empty()),
            Event::ContainerDelete { id } => (id, false),
            _ => return,
        };
        self.poke((envelope.namespace.clone(), id), may_begin, false);
    }

    fn poke(&mut self, key: Key, may_begin: bool, at_start: bool) {
        match self.watched.get(&key) {
            Some(pokes) => pokes.send_modify(|count| *count += 1),
            None if may_begin => self.begin(key, at_start),
            None => {}
        }
    }

    fn begin(&mut self, key: Key, at_start: bool) {
        let (pokes, receiver) = watch::channel(0);
        let scope = Scope::new(key.0.clone());
        let watcher = Watcher::new(Arc::clone(&self.shared), scope, key.1.clone(), at_start);
        let task = self.watchers.spawn(watcher.run(receiver));
        self.keys.insert(task.id(), key.clone());
        self.watched.insert(key, pokes);
    }

    /// Forgets a watcher, unless something happened since it last looked.
    fn ended(&mut self, task: Id, seen: Option<u64>) {
        let Some(key) = self.keys.remove(&task) else { return };
        let Some(pokes) = self.watched.remove(&key) else { return };
        if seen.is_some_and(|seen| seen != *pokes.borrow()) {
            self.begin(key, false);
        }
    }

    /// Pokes every container that carries our label.
    async fn scan(&mut self, at_start: bool) -> Result<()> {
        let store = self.shared.store.clone();
        let labelled = blocking(move || {
            let filter = Filter::parse(&[format!("labels.{STATUS:?}")])?;
            let mut labelled = Vec::new();
            for space in store.list_namespaces()? {
                let namespace = Namespace::new(space.name.as_str())?;
                let found = store.list_containers(&Scope::new(namespace.clone()), &filter)?;
                labelled.extend(found.into_iter().map(|container| (namespace.clone(), container.id)));
            }
            Ok(labelled)
        });
        for key in labelled.await? {
            self.poke(key, true, at_start);
        }
        Ok(())
    }
}
