//! The restart monitor: what it does on events alone, its scan being an hour away.

use crate::bed::{Bed, Running, for_each_shim, next, run};
use engine::{Process, ProcessId, RestartMonitor, Status};
use model::{Container, FieldMask};
use std::{fs, time::Duration};
use tests::Impl;
use tokio::time;

for_each_shim! {
    a_killed_container_runs_again_until_its_label_says_stopped,
    a_failing_container_is_restarted_as_often_as_its_policy_says,
    what_ended_while_no_daemon_ran_is_restarted_unless_a_user_stopped_it,
    a_task_that_cannot_be_created_is_tried_again,
}

const STATUS: &str = "containerd.io/restart.status";
const POLICY: &str = "containerd.io/restart.policy";
const COUNT: &str = "containerd.io/restart.count";
const LOG_URI: &str = "containerd.io/restart.loguri";

async fn monitor(daemon: &Running) -> RestartMonitor {
    RestartMonitor::start(daemon.engine.clone(), daemon.store.clone(), Duration::from_secs(3600)).await.unwrap()
}

async fn task(daemon: &Running, id: &str) -> Option<Process> {
    daemon.engine.get_task(&daemon.scope, &ProcessId::init(id)).await.ok()
}

fn count(daemon: &Running, id: &str) -> Option<String> {
    daemon.store.get_container(&daemon.scope, id).unwrap().labels.get(COUNT).cloned()
}

fn label(daemon: &Running, id: &str, name: &str, value: &str) {
    let labels = [(name.to_owned(), value.to_owned())].into();
    let update = Container { id: id.to_owned(), labels, ..Container::default() };
    daemon.store.update_container(&daemon.scope, update, &FieldMask(vec![format!("labels.{name}")])).unwrap();
}

/// Starts the task of `id`, which is on record.
async fn start(daemon: &Running, id: &str) -> u32 {
    let task = engine::CreateTask { container: id.to_owned(), ..engine::CreateTask::default() };
    daemon.engine.create_task(&daemon.scope, task).await.unwrap();
    daemon.engine.start(&daemon.scope, &ProcessId::init(id)).await.unwrap()
}

/// Waits until the task of `id` is as `wanted`.
async fn until(daemon: &Running, id: &str, wanted: impl Fn(Option<&Process>) -> bool) -> Option<Process> {
    let found = time::timeout(tests::PATIENCE, async {
        loop {
            let task = task(daemon, id).await;
            if wanted(task.as_ref()) {
                return task;
            }
            time::sleep(Duration::from_millis(10)).await;
        }
    });
    found.await.expect("the task in the wanted state")
}

/// Waits until there is no task of `id`, nor anything of it on disk.
async fn gone(daemon: &Running, id: &str) {
    until(daemon, id, |task| task.is_none()).await;
    // It cannot be reached from the beginning of its deletion on.
    let bundle = daemon.config.state.join("io.containerd.runtime.v2.task").join(daemon.scope.namespace.as_str());
    until(daemon, id, |_| !bundle.join(id).exists()).await;
}

fn runs_anew(task: Option<&Process>, old: u32) -> bool {
    task.is_some_and(|task| task.status == Status::Running && task.pid != old)
}

fn a_killed_container_runs_again_until_its_label_says_stopped(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        let _monitor = monitor(&daemon).await;
        let log = bed.folder().join("out.log");
        let uri = format!("file://{}", log.display());
        let script = "echo said; exec sleep 1000";
        daemon.labelled("c", &["sh", "-c", script], &[(STATUS, "running"), (LOG_URI, &uri)]);
        let first = start(&daemon, "c").await;
        daemon.engine.kill(&daemon.scope, &ProcessId::init("c"), 9, false).await.unwrap();
        let second = until(&daemon, "c", |task| runs_anew(task, first)).await.unwrap();
        // Each restarted task writes to the log; it must get to that before it is killed.
        let has_said = |times: usize| {
            let lines = || fs::read_to_string(&log).unwrap_or_default().lines().count();
            tokio::task::block_in_place(|| tests::eventually("the task's words", || lines() == times));
        };
        has_said(1);
        assert_eq!(count(&daemon, "c").as_deref(), Some("1"));
        assert_eq!((second.stdio.stdout.as_str(), second.stdio.stderr.as_str()), (uri.as_str(), uri.as_str()));
        daemon.engine.kill(&daemon.scope, &ProcessId::init("c"), 9, false).await.unwrap();
        until(&daemon, "c", |task| runs_anew(task, second.pid)).await;
        has_said(2);
        assert_eq!(count(&daemon, "c").as_deref(), Some("2"));
        label(&daemon, "c", STATUS, "stopped");
        gone(&daemon, "c").await;
        assert_eq!(fs::read_to_string(&log).unwrap(), "said\nsaid\n");
    });
    bed.assert_clean();
}

fn a_failing_container_is_restarted_as_often_as_its_policy_says(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        let _monitor = monitor(&daemon).await;
        let mut events = daemon.events();
        daemon.labelled("c", &["sh", "-c", "exit 3"], &[(STATUS, "running"), (POLICY, "on-failure:2")]);
        start(&daemon, "c").await;
        for restart in 0..3 {
            for topic in ["create", "start", "exit"] {
                assert_eq!(next(&mut events).await, format!("/tasks/{topic} c"), "restart {restart}");
            }
            if restart < 2 {
                assert_eq!(next(&mut events).await, "/tasks/delete c");
            }
        }
        assert_eq!(count(&daemon, "c").as_deref(), Some("2"));
        // Longer than the delay that a third restart would have had.
        time::sleep(Duration::from_secs(1)).await;
        assert!(events.try_next().is_none(), "no further restart");
        assert_eq!(task(&daemon, "c").await.map(|task| (task.status, task.exit_status)), Some((Status::Stopped, 3)));
        daemon.engine.delete_task(&daemon.scope, "c").await.unwrap();
    });
    bed.assert_clean();
}

fn what_ended_while_no_daemon_ran_is_restarted_unless_a_user_stopped_it(shim: Impl) {
    let bed = Bed::new(shim);
    let pids = run(async {
        let daemon = bed.open().await;
        let _monitor = monitor(&daemon).await;
        let mut pids = Vec::new();
        for (id, user_stopped) in [("a", "false"), ("b", "true")] {
            let user_stopped = ("containerd.io/restart.explicitly-stopped", user_stopped);
            daemon.labelled(id, &["sleep", "1000"], &[(STATUS, "running"), (POLICY, "unless-stopped"), user_stopped]);
            pids.push(start(&daemon, id).await);
        }
        pids
    });
    for pid in &pids {
        let pid = rustix::process::Pid::from_raw(i32::try_from(*pid).unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
    run(async {
        let daemon = bed.open().await;
        let _monitor = monitor(&daemon).await;
        until(&daemon, "a", |task| runs_anew(task, pids[0])).await;
        assert!(!task(&daemon, "b").await.is_some_and(|task| task.status == Status::Running));
        assert_eq!((count(&daemon, "a").as_deref(), count(&daemon, "b")), (Some("1"), None));
        label(&daemon, "a", STATUS, "stopped");
        gone(&daemon, "a").await;
        if task(&daemon, "b").await.is_some() {
            daemon.engine.delete_task(&daemon.scope, "b").await.unwrap();
        }
    });
    bed.assert_clean();
}

fn a_task_that_cannot_be_created_is_tried_again(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        // On record before the daemon starts to watch, as after a reboot, and its program is not there yet.
        daemon.labelled("c", &["late"], &[(STATUS, "running")]);
        let _monitor = monitor(&daemon).await;
        let counted = || count(&daemon, "c").and_then(|count| count.parse::<u32>().ok()).unwrap_or(0);
        let twice = time::timeout(tests::PATIENCE, async {
            while counted() < 2 {
                time::sleep(Duration::from_millis(10)).await;
            }
        });
        twice.await.expect("a second attempt");
        let program = bed.folder().join("rootfs/bin/late");
        fs::write(&program, "#!/bin/sh\nexec sleep 1000\n").unwrap();
        fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        until(&daemon, "c", |task| runs_anew(task, 0)).await;
        label(&daemon, "c", STATUS, "stopped");
        gone(&daemon, "c").await;
    });
    bed.assert_clean();
}
