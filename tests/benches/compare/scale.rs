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
use tests::{Daemon, Impl, PATIENCE, bare, memory};
use tonic::Status;

use crate::table::Table;

const ALL: usize = 200;
/// How many are running when the daemon's memory is looked at.
const STEPS: [usize; 5] = [1, 50, 100, 150, ALL];
/// How many of them are left when the daemon is killed.
const LEFT: usize = 100;
const CLIENTS: usize = 8;
const ROUNDS: usize = 5;

pub(crate) fn run(table: &mut Table) {
    for side in crate::SIDES {
        let mut daemon = crate::daemon(side);
        let rootfs = bare::rootfs(daemon.dir(), &["sleep"]);
        start_all(table, side, &daemon, &rootfs);

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

/// Starts the containers in steps, and says what each of them adds to the daemon.
fn start_all(table: &mut Table, side: Impl, daemon: &Daemon, rootfs: &Path) {
    let (mut running, mut sizes, mut took) = (0, Vec::new(), 0.0);
    for count in STEPS {
        let step = timed(|| each(daemon, running..count, |api, id| start(api, id, daemon.namespace(), rootfs)));
        // The first container brings in what all share.
        took += if running == 0 { 0.0 } else { step };
        running = count;
        sizes.push((count as f64, memory::settled_pss(daemon.pid()) as f64 / 1e3));
    }
    eprintln!("  {side:?}: containers running, and the daemon's PSS in kB: {sizes:?}");
    table.add(side, "200 containers, 8 clients: start, each", "ms", None, took / (ALL - 1) as f64);
    table.add(side, "daemon, growth by a running container, PSS", "kB", None, slope(&sizes[1..]));
    let ((few, least), (many, most)) = (sizes[0], sizes[sizes.len() - 1]);
    table.add(side, "the same, from the first of them on", "kB", None, (most - least) / (many - few));
}

/// Of the straight line that fits the points best.
fn slope(points: &[(f64, f64)]) -> f64 {
    let mean = |of: fn(&(f64, f64)) -> f64| points.iter().map(of).sum::<f64>() / points.len() as f64;
    let (x, y) = (mean(|point| point.0), mean(|point| point.1));
    let both: f64 = points.iter().map(|point| (point.0 - x) * (point.1 - y)).sum();
    both / points.iter().map(|point| (point.0 - x).powi(2)).sum::<f64>()
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
