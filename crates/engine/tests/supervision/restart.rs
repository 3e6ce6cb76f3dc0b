//! The daemon dies, by choice or by kill -9, and the next one takes over what lives and removes the rest.

use crate::{
    bed::{Bed, Running, for_each_shim, next, run},
    crash::{shim_pid, stop},
};
use engine::{ProcessId, Status};
use rustix::process::{Signal, kill_process};
use std::{
    env, fs,
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};
use tests::{Impl, eventually};

for_each_shim! {
    a_creator_that_goes_away_leaves_nothing,
    running_and_stopped_tasks_are_adopted_and_dead_ones_buried,
    a_shim_without_a_task_is_ended,
    a_hung_shim_is_adopted_and_holds_up_nobody,
    killed_in_the_middle_of_starts_nothing_leaks,
}

fn running_and_stopped_tasks_are_adopted_and_dead_ones_buried(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        for id in ["a", "b", "dead", "ends"] {
            daemon.run(id, &["sleep", "1000"]).await;
        }
        daemon.run("stopped", &["sh", "-c", "exit 9"]).await;
        daemon.engine.wait(&daemon.scope, &ProcessId::init("stopped")).await.unwrap();
    });
    // Nobody sees these two happen.
    kill_process(shim_pid(&bed, "dead"), Signal::KILL).unwrap();
    let work = bed.folder().join("root/io.containerd.runtime.v2.task").join(bed.namespace()).join("reboot");
    fs::create_dir_all(&work).unwrap();
    run(async {
        let daemon = bed.open().await;
        let (engine, scope) = (&daemon.engine, &daemon.scope);
        // Asked at once: each request waits for its own task's adoption.
        let listed = engine.list_tasks(scope).await.unwrap();
        let listed: Vec<_> = listed.iter().map(|task| (task.id.as_str(), task.status)).collect();
        let running = Status::Running;
        assert_eq!(listed, [("a", running), ("b", running), ("ends", running), ("stopped", Status::Stopped)]);
        assert_eq!(engine.delete_task(scope, "stopped").await.unwrap().status, 9);
        assert!(engine.get_task(scope, &ProcessId::init("dead")).await.unwrap_err().is_not_found());
        for id in ["a", "b", "ends"] {
            daemon.end(id).await;
        }
        eventually("the work directory of another boot to go", || !work.exists());
    });
    bed.assert_clean();
}

/// An exit that no daemon sees is kept by our shim and delivered to the next one. Go's drops it.
#[test]
fn an_exit_while_no_daemon_runs_is_not_lost() {
    let bed = Bed::new(Impl::Ours);
    let script = "while [ ! -e /dev/end ]; do sleep 0.01; done; exit 5";
    let init = run(async { bed.open().await.run("c", &["sh", "-c", script]).await });
    let rootfs = bed.bundle("c").join("rootfs");
    assert!(rootfs.exists());
    // The container's own /dev.
    fs::write(format!("/proc/{init}/root/dev/end"), "").unwrap();
    eventually("the container to end", || !Path::new(&format!("/proc/{init}/root/dev")).exists());
    run(async {
        let (daemon, mut events) = bed.open_subscribed().await;
        let mut event = next(&mut events).await;
        while event != "/tasks/exit c" {
            event = next(&mut events).await;
        }
        let exit = daemon.engine.delete_task(&daemon.scope, "c").await.unwrap();
        assert_eq!(exit.status, 5);
        assert_eq!(next(&mut events).await, "/tasks/delete c");
    });
    bed.assert_clean();
}

fn a_creator_that_goes_away_leaves_nothing(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        daemon.container("c", &["sleep", "1000"]);
        for delay in [0, 2, 10, 30, 60] {
            let (engine, scope, task) = (daemon.engine.clone(), daemon.scope.clone(), daemon.task("c"));
            let creator = tokio::spawn(async move { engine.create_task(&scope, task).await });
            tokio::time::sleep(Duration::from_millis(delay)).await;
            creator.abort();
            match creator.await {
                // It was faster.
                Ok(Ok(_)) => {
                    daemon.engine.delete_task(&daemon.scope, "c").await.unwrap();
                }
                // The creator before went away when its work had not begun, and nothing could be seen of it.
                Ok(Err(error)) => {
                    assert!(error.is_already_exists(), "{error}");
                    tokio::task::block_in_place(|| bed.assert_clean());
                }
                Err(_) => tokio::task::block_in_place(|| bed.assert_clean()),
            }
        }
        // The name is free.
        eventually("the last creator's task to be gone", || {
            tokio::task::block_in_place(|| {
                tokio::runtime::Handle::current()
                    .block_on(daemon.engine.create_task(&daemon.scope, daemon.task("c")))
                    .is_ok()
            })
        });
        daemon.engine.delete_task(&daemon.scope, "c").await.unwrap();
    });
    bed.assert_clean();
}

fn a_shim_without_a_task_is_ended(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        daemon.run("c", &["sleep", "1000"]).await;
        // As if we had died between the shim's start and the container's creation: the shim is
        // asked to delete its container, and we forget that it has.
        daemon.engine.kill(&daemon.scope, &ProcessId::init("c"), 9, true).await.unwrap();
        daemon.engine.wait(&daemon.scope, &ProcessId::init("c")).await.unwrap();
        let bootstrap: serde_json::Value =
            serde_json::from_slice(&fs::read(bed.bundle("c").join("bootstrap.json")).unwrap()).unwrap();
        let address = bootstrap["address"].as_str().unwrap();
        let connection =
            client::shim::Connection::connect(client::shim::Protocol::Ttrpc, address, Duration::from_secs(5))
                .await
                .unwrap();
        let version = u32::try_from(bootstrap["version"].as_u64().unwrap()).unwrap();
        let client = client::shim::TaskClient::new(connection.into(), version, bed.namespace()).unwrap();
        let request = proto::shim::containerd::task::v3::DeleteRequest { id: "c".to_owned(), exec_id: String::new() };
        client.delete(&request, None).await.unwrap();
    });
    assert!(bed.bundle("c").exists());
    run(async {
        let daemon = bed.open().await;
        let error = daemon.engine.get_task(&daemon.scope, &ProcessId::init("c")).await.unwrap_err();
        assert!(error.is_not_found(), "{error}");
    });
    bed.assert_clean();
}

fn a_hung_shim_is_adopted_and_holds_up_nobody(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        daemon.run("hung", &["sleep", "1000"]).await;
        daemon.run("well", &["sleep", "1000"]).await;
    });
    let shim = shim_pid(&bed, "hung");
    stop(shim);
    run(async {
        let daemon = bed.open().await;
        let state = daemon.engine.get_task(&daemon.scope, &ProcessId::init("well")).await.unwrap();
        assert_eq!(state.status, Status::Running);
        assert!(bed.bundle("hung").exists());
        kill_process(shim, Signal::CONT).unwrap();
        daemon.end("hung").await;
        daemon.end("well").await;
    });
    bed.assert_clean();
}

/// Set in the process that is to be killed: folder, namespace and shim.
const VICTIM: &str = "ENGINE_TEST_VICTIM";

/// Not a test by itself: creates and deletes tasks until it is killed.
#[test]
fn victim() {
    let Ok(bed) = env::var(VICTIM) else { return };
    let words: Vec<&str> = bed.split('\n').collect();
    let (config, scope) = Bed::existing(Path::new(words[0]), words[1], Path::new(words[2]));
    run(async {
        let daemon = Running::open(config, scope.namespace.as_str()).await;
        for id in 0.. {
            let id = format!("v{id}");
            daemon.container(&id, &["sleep", "1000"]);
            daemon.engine.create_task(&scope, daemon.task(&id)).await.unwrap();
            daemon.engine.start(&scope, &ProcessId::init(&id)).await.unwrap();
            daemon.end(&id).await;
            daemon.store.delete_container(&scope, &id).unwrap();
        }
    });
}

/// Kills and deletes a task in any state: its start may still be under way, and its own end too.
async fn removed(daemon: &Running, id: &str) {
    let begun = Instant::now();
    loop {
        let _ended = daemon.engine.kill(&daemon.scope, &ProcessId::init(id), 9, true).await;
        match daemon.engine.delete_task(&daemon.scope, id).await {
            Ok(_) => return,
            Err(error) if error.is_not_found() => return,
            Err(error) => assert!(begun.elapsed() < tests::PATIENCE, "{id} cannot be deleted: {error}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn killed_in_the_middle_of_starts_nothing_leaks(shim: Impl) {
    let bed = Bed::new(shim);
    // Spread over a start, which takes some 100 ms: at the shim's start, runc's create, runc's start.
    for delay in [150, 170, 190, 215, 240, 270, 300, 340] {
        let words = [bed.folder().to_str().unwrap(), bed.namespace(), bed.shim().to_str().unwrap()];
        let mut victim = Command::new(env::current_exe().unwrap())
            .args(["restart::victim", "--exact", "--nocapture"])
            .env(VICTIM, words.join("\n"))
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(delay));
        assert!(victim.try_wait().unwrap().is_none(), "the victim ended by itself");
        victim.kill().unwrap();
        victim.wait().unwrap();
        run(async {
            let daemon = bed.open().await;
            for task in daemon.engine.list_tasks(&daemon.scope).await.unwrap() {
                removed(&daemon, &task.id).await;
            }
            for container in daemon.store.list_containers(&daemon.scope, &model::Filter::all()).unwrap() {
                daemon.store.delete_container(&daemon.scope, &container.id).unwrap();
            }
            // While this daemon runs: its own sweep may still be at work.
            tokio::task::block_in_place(|| bed.assert_clean());
        });
    }
}
