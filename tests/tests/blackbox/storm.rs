//! Short containers from several clients while the daemon is killed, or stopped, again and again: no exit is lost.
//!
//! A subscriber that subscribes again after each restart must see the exit of every container that was
//! started, and each task's events in order. `CONTAINERD_STORM=full` runs 1,000 containers over 10 kills.

use std::collections::HashMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::{scope, sleep};
use std::time::{Duration, Instant};

use prost::Message as _;
use proto::api::containerd::events::{TaskCreate, TaskDelete, TaskExit, TaskStart};
use proto::api::containerd::services::containers::v1::CreateContainerRequest;
use proto::api::containerd::services::events::v1::SubscribeRequest;
use proto::api::containerd::services::tasks::v1::{DeleteTaskRequest, GetRequest, StartRequest, WaitRequest};
use proto::api::containerd::types::Envelope;
use tests::api::Api;
use tests::daemon::testing;
use tests::{Bed, Daemon, Impl, PATIENCE, Row, bare};
use tonic::{Code, Status};

/// Containers and kills of the daemon.
const USUAL: (usize, usize) = (200, 5);
const FULL: (usize, usize) = (1000, 10);
const CLIENTS: usize = 8;
/// In the order that a task's events come in.
const TOPICS: [&str; 4] = ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"];

#[test]
fn every_exit_is_seen_over_kills_of_the_daemon() {
    Bed::run_on(daemon(), OURS, |bed| storm(bed, |daemon| daemon.kill()));
}

#[test]
fn every_exit_is_seen_over_stops_of_the_daemon() {
    Bed::run_on(daemon(), OURS, |bed| storm(bed, |daemon| assert!(daemon.stop().unwrap().success())));
}

const OURS: Row = Row { daemon: Impl::Ours, shim: Impl::Ours, ctr: Impl::Go };

/// A daemon whose shims wait for our subscriber, however busy the machine is.
fn daemon() -> Daemon {
    let subscribers = "\"io.containerd.timeout.events.subscribers\" = \"60s\"\n";
    Daemon::configured(OURS.daemon, OURS.shim, &format!("{}{subscribers}", testing()))
}

/// What a task's pid tells apart: a create that a kill cut off may be done again.
type Task = (String, u32);

fn storm(bed: &mut Bed, end: fn(&mut Daemon)) {
    let full = std::env::var("CONTAINERD_STORM").is_ok_and(|value| value == "full");
    let (count, kills) = if full { FULL } else { USUAL };
    let rootfs = bare::rootfs(bed.daemon.dir(), &["true"]);
    let (socket, namespace) = (bed.daemon.socket(), bed.daemon.namespace().to_owned());
    let (started, ended) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let (ran, done) = (Mutex::new(Vec::<Task>::new()), AtomicBool::new(false));
    let seen: Arc<Mutex<HashMap<Task, Vec<&'static str>>>> = Arc::default();
    let begun = Instant::now();
    scope(|scope| {
        scope.spawn(|| subscribe(&socket, &namespace, &seen, &done));
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let mut client = Client { socket: &socket, namespace: &namespace, api: None };
                loop {
                    let number = started.fetch_add(1, Ordering::Relaxed);
                    if number >= count {
                        break;
                    }
                    let id = format!("c{number}");
                    let pid = client.run(&id, &rootfs);
                    ran.lock().unwrap().push((id, pid));
                    ended.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        for kill in 1..=kills {
            let target = count * kill / (kills + 1);
            tests::eventually("progress", || ended.load(Ordering::Relaxed) >= target);
            end(&mut bed.daemon);
            bed.daemon.restart();
        }
        while ended.load(Ordering::Relaxed) < count {
            assert!(begun.elapsed() < 5 * PATIENCE, "{ended:?} of {count} ended");
            sleep(Duration::from_millis(20));
        }
        let missing = || {
            let (seen, ran) = (seen.lock().unwrap(), ran.lock().unwrap());
            let lost = |task: &&Task| !seen.get(*task).is_some_and(|topics| topics.contains(&"/tasks/exit"));
            ran.iter().filter(lost).cloned().collect::<Vec<_>>()
        };
        let waiting = Instant::now();
        while waiting.elapsed() < PATIENCE && !missing().is_empty() {
            sleep(Duration::from_millis(50));
        }
        done.store(true, Ordering::Relaxed);
        // Wakes the subscriber.
        bed.ctr().ok(&format!("namespaces label {namespace} storm=over"));
        println!("{count} containers, {kills} kills, {:?}, exits not seen: {:?}", begun.elapsed(), missing());
        assert_eq!(missing(), Vec::<Task>::new(), "exits that no subscriber saw");
    });
    let mut again = 0;
    for (task, topics) in seen.lock().unwrap().iter() {
        let place = |topic: &&str| TOPICS.iter().position(|known| known == topic);
        // The last event before a kill may come again: first sights are what has an order.
        let mut first: Vec<&str> = Vec::new();
        for topic in topics {
            if !first.contains(topic) {
                first.push(topic);
            }
        }
        again += topics.len() - first.len();
        assert!(first.iter().map(place).is_sorted(), "{task:?}: {topics:?}");
    }
    println!("events that came again: {again}");
    let ids = bed.ctr().ok("containers ls -q");
    for chunk in ids.lines().collect::<Vec<_>>().chunks(100) {
        bed.ctr().ok(&format!("containers rm {}", chunk.join(" ")));
    }
}

/// Collects the events of tasks until `done`; comes back whenever the daemon does.
fn subscribe(socket: &Path, namespace: &str, seen: &Mutex<HashMap<Task, Vec<&'static str>>>, done: &AtomicBool) {
    while !done.load(Ordering::Relaxed) {
        let Ok(api) = Api::dial(socket, namespace) else {
            sleep(Duration::from_millis(2));
            continue;
        };
        let Ok(events) = api.call(api.events().subscribe(SubscribeRequest::default())) else { continue };
        let mut events = events.into_inner();
        while let Ok(Some(envelope)) = api.runtime().block_on(events.message()) {
            if done.load(Ordering::Relaxed) {
                return;
            }
            if let Some((task, topic)) = task_event(&envelope) {
                seen.lock().unwrap().entry(task).or_default().push(topic);
            }
        }
    }
}

/// Which task an event is of, and its topic; none for those of other kinds.
fn task_event(envelope: &Envelope) -> Option<(Task, &'static str)> {
    let value = envelope.event.as_ref()?.value.as_slice();
    let (task, topic) = match envelope.topic.as_str() {
        "/tasks/create" => (TaskCreate::decode(value).map(|event| (event.container_id, event.pid)), TOPICS[0]),
        "/tasks/start" => (TaskStart::decode(value).map(|event| (event.container_id, event.pid)), TOPICS[1]),
        "/tasks/exit" => (TaskExit::decode(value).map(|event| (event.container_id, event.pid)), TOPICS[2]),
        "/tasks/delete" => (TaskDelete::decode(value).map(|event| (event.container_id, event.pid)), TOPICS[3]),
        _ => return None,
    };
    Some((task.unwrap(), topic))
}

/// A client that goes on where it was when the daemon comes back.
struct Client<'a> {
    socket: &'a Path,
    namespace: &'a str,
    api: Option<Api>,
}

impl Client<'_> {
    /// Calls until there is an answer from a daemon.
    fn ask<T>(&mut self, call: impl Fn(&Api) -> Result<T, Status>) -> Result<T, Status> {
        let start = Instant::now();
        loop {
            assert!(start.elapsed() < PATIENCE, "no answer");
            if self.api.is_none() {
                self.api = Api::dial(self.socket, self.namespace).ok();
            }
            let answer = self.api.as_ref().map(&call);
            match answer {
                Some(Err(status))
                    if matches!(status.code(), Code::Unavailable | Code::Cancelled) || is_cut(&status) =>
                {
                    self.api = None
                }
                Some(answer) => return answer,
                None => sleep(Duration::from_millis(5)),
            }
        }
    }

    /// Records, creates, starts, awaits and deletes a container; the pid that ran.
    fn run(&mut self, id: &str, rootfs: &Path) -> u32 {
        let container = bare::container(id, self.namespace, &["/bin/true"]);
        let request = CreateContainerRequest { container: Some(container) };
        allow(self.ask(|api| api.call(api.containers().create(request.clone()))).map(drop), Code::AlreadyExists);
        let pid = self.start(id, rootfs);
        let wait = WaitRequest { container_id: id.to_owned(), exec_id: String::new() };
        let exit = self.ask(|api| api.call(api.tasks().wait(wait.clone()))).unwrap().into_inner();
        assert_eq!(exit.exit_status, 0, "{id}");
        let delete = DeleteTaskRequest { container_id: id.to_owned() };
        allow(self.ask(|api| api.call(api.tasks().delete(delete.clone()))).map(drop), Code::NotFound);
        pid
    }

    fn start(&mut self, id: &str, rootfs: &Path) -> u32 {
        let create = bare::create(id, rootfs);
        let start = StartRequest { container_id: id.to_owned(), exec_id: String::new() };
        let get = GetRequest { container_id: id.to_owned(), exec_id: String::new() };
        for _ in 0..20 {
            allow(self.ask(|api| api.call(api.tasks().create(create.clone()))).map(drop), Code::AlreadyExists);
            if let Ok(started) = self.ask(|api| api.call(api.tasks().start(start.clone()))) {
                return started.into_inner().pid;
            }
            // Started for a daemon that died, or gone with it.
            match self.ask(|api| api.call(api.tasks().get(get.clone()))) {
                Ok(found) => {
                    let process = found.into_inner().process.unwrap();
                    assert!(process.status >= 2, "{id} does not start: {process:?}");
                    return process.pid;
                }
                Err(status) => assert_eq!(status.code(), Code::NotFound, "{id}: {status}"),
            }
        }
        panic!("{id} does not start");
    }
}

/// A call whose connection broke.
fn is_cut(status: &Status) -> bool {
    std::error::Error::source(status).is_some() || status.message().contains("h2 protocol error")
}

fn allow(result: Result<(), Status>, code: Code) {
    if let Err(status) = result {
        assert_eq!(status.code(), code, "{status}");
    }
}
