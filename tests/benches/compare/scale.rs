//! Many containers that run at once: starting, reading all statistics, a daemon that is killed and comes back,
//! stopping, and nothing left.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use proto::api::containerd::services::containers::v1::{CreateContainerRequest, DeleteContainerRequest};
use proto::api::containerd::services::tasks::v1::{
    DeleteTaskRequest, KillRequest, ListTasksRequest, MetricsRequest, StartRequest, WaitRequest,
};
use proto::api::containerd::v1::types::Status as TaskStatus;
use tests::api::Api;
use tests::{Daemon, PATIENCE, bare, memory};
use tonic::Status;

use crate::table::Table;

const ALL: usize = 200;
/// How many of them are left when the daemon is killed.
const LEFT: usize = 100;
const CLIENTS: usize = 8;
const ROUNDS: usize = 5;

pub(crate) fn run(table: &mut Table) {
    for side in crate::SIDES {
        let mut daemon = crate::daemon(side);
        let rootfs = bare::rootfs(daemon.dir(), &["sleep"]);
        // The first container brings in what all share.
        each(&daemon, 0..1, |api, id| start(api, id, daemon.namespace(), &rootfs));
        std::thread::sleep(Duration::from_secs(2));
        let before = memory::pss(daemon.pid());
        let took = timed(|| each(&daemon, 1..ALL, |api, id| start(api, id, daemon.namespace(), &rootfs)));
        table.add(side, "200 containers, 8 clients: start, each", "ms", None, took / (ALL - 1) as f64);
        std::thread::sleep(Duration::from_secs(2));
        let grown = memory::pss(daemon.pid()).saturating_sub(before) as f64;
        table.add(side, "daemon, growth by a running container, PSS", "kB", None, grown / 1e3 / (ALL - 1) as f64);

        let api = Api::connect(&daemon.socket(), daemon.namespace());
        for _ in 0..ROUNDS {
            let took = timed(|| {
                let metrics = api.call(api.tasks().metrics(MetricsRequest::default())).expect("metrics");
                assert_eq!(metrics.into_inner().metrics.len(), ALL, "everyone has statistics");
            });
            table.add(side, "statistics of 200 containers", "ms", None, took);
        }
        let took = timed(|| each(&daemon, LEFT..ALL, stop));
        table.add(side, "200 containers, 8 clients: kill and delete, each", "ms", None, took / (ALL - LEFT) as f64);

        for _ in 0..ROUNDS {
            let (answers, adopted) = killed_and_back(&mut daemon);
            table.add(side, "killed daemon with 100 running: API answers after", "ms", None, answers);
            table.add(side, "killed daemon with 100 running: all adopted after", "ms", None, adopted);
        }
        each(&daemon, 0..LEFT, stop);
        daemon.finish();
    }
}

/// Milliseconds from the new process to its first answer, and until it lists all containers as running.
fn killed_and_back(daemon: &mut Daemon) -> (f64, f64) {
    daemon.kill();
    let begun = Instant::now();
    daemon.spawn();
    let since = || begun.elapsed().as_secs_f64() * 1e3;
    let waiting = || assert!(begun.elapsed() < PATIENCE, "the daemon does not come back");
    let api = loop {
        waiting();
        match Api::dial(&daemon.socket(), daemon.namespace()) {
            Ok(api) if api.call(api.version().version(())).is_ok() => break api,
            _ => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    let answers = since();
    loop {
        waiting();
        let tasks = api.call(api.tasks().list(ListTasksRequest::default())).expect("list tasks").into_inner().tasks;
        if tasks.iter().filter(|task| task.status == TaskStatus::Running as i32).count() == LEFT {
            return (answers, since());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Does `work` for the containers of these numbers, from several clients.
fn each(daemon: &Daemon, numbers: std::ops::Range<usize>, work: impl Fn(&Api, &str) + Sync) {
    let next = AtomicUsize::new(numbers.start);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                let api = Api::connect(&daemon.socket(), daemon.namespace());
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    if number >= numbers.end {
                        break;
                    }
                    work(&api, &format!("box{number}"));
                }
            });
        }
    });
}

fn start(api: &Api, id: &str, namespace: &str, rootfs: &Path) {
    let container = bare::container(id, namespace, &["/bin/sleep", "100000"]);
    let run = async {
        api.containers().create(CreateContainerRequest { container: Some(container) }).await?;
        api.tasks().create(bare::create(id, rootfs)).await?;
        api.tasks().start(StartRequest { container_id: id.to_owned(), exec_id: String::new() }).await
    };
    api.call(run).expect("start a container");
}

fn stop(api: &Api, id: &str) {
    let container_id = || id.to_owned();
    let run = async {
        let wait = WaitRequest { container_id: container_id(), exec_id: String::new() };
        api.tasks().kill(KillRequest { container_id: container_id(), signal: 9, ..Default::default() }).await?;
        api.tasks().wait(wait).await?;
        api.tasks().delete(DeleteTaskRequest { container_id: container_id() }).await?;
        api.containers().delete(DeleteContainerRequest { id: container_id() }).await?;
        Ok::<(), Status>(())
    };
    api.call(run).expect("stop a container");
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}
