//! A shim that dies or hangs costs its own container, and nobody waits for ever.

use crate::bed::{Bed, for_each_shim, next, run};
use engine::{ProcessId, Status};
use model::Kind;
use rustix::process::{Pid, Signal, kill_process};
use std::{fs, time::Duration};
use tests::Impl;

for_each_shim! {
    a_killed_shim_takes_its_container_along_and_everyone_is_told,
    a_hung_shim_costs_its_own_callers_a_bounded_time,
}

/// The pid of the shim started for `id`, from its command line.
pub(crate) fn shim_pid(bed: &Bed, id: &str) -> Pid {
    let address = bed.folder().join("c.sock").display().to_string();
    let words = [bed.namespace(), id, &address].map(|word| format!("\0{word}\0"));
    let found = fs::read_dir("/proc").unwrap().flatten().find_map(|entry| {
        let pid: i32 = entry.file_name().to_str()?.parse().ok()?;
        let line = String::from_utf8(fs::read(entry.path().join("cmdline")).ok()?).ok()?;
        words.iter().all(|word| line.contains(word)).then_some(pid)
    });
    Pid::from_raw(found.expect("the shim's process")).unwrap()
}

/// Stops a process with all its threads, which a signal does only sooner or later.
pub(crate) fn stop(pid: Pid) {
    kill_process(pid, Signal::STOP).unwrap();
    let threads = format!("/proc/{}/task", pid.as_raw_nonzero());
    tests::eventually("the process to have stopped", || {
        fs::read_dir(&threads).unwrap().flatten().all(|thread| {
            let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            stat.rsplit_once(") ").is_none_or(|(_, state)| state.starts_with('T'))
        })
    });
}

fn a_killed_shim_takes_its_container_along_and_everyone_is_told(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        let (engine, scope) = (&daemon.engine, &daemon.scope);
        let mut events = daemon.events();
        daemon.run("c", &["sleep", "1000"]).await;
        for expected in ["create", "start"] {
            assert_eq!(next(&mut events).await, format!("/tasks/{expected} c"));
        }
        let process = ProcessId::init("c");
        let mut waiting = std::pin::pin!(engine.wait(scope, &process));
        // Looked at once, it is under way.
        tokio::select! {
            biased;
            ended = waiting.as_mut() => panic!("{ended:?}"),
            () = std::future::ready(()) => {}
        }
        kill_process(shim_pid(&bed, "c"), Signal::KILL).unwrap();
        assert_eq!(waiting.await.unwrap().status, 137);
        // Ours sends again what it was killed before it knew to have arrived.
        let mut event = next(&mut events).await;
        while event == "/tasks/start c" {
            event = next(&mut events).await;
        }
        assert_eq!(event, "/tasks/exit c");
        assert_eq!(next(&mut events).await, "/tasks/delete c");
        let error = engine.get_task(scope, &ProcessId::init("c")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::NotFound);
        assert!(!bed.bundle("c").exists());
        // Nothing stands in the way of the next one.
        engine.create_task(scope, daemon.task("c")).await.unwrap();
        engine.delete_task(scope, "c").await.unwrap();
    });
    bed.assert_clean();
}

fn a_hung_shim_costs_its_own_callers_a_bounded_time(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open_with(|timeouts| timeouts.state = Duration::from_secs(5)).await;
        let (engine, scope) = (&daemon.engine, &daemon.scope);
        daemon.run("hung", &["sleep", "1000"]).await;
        daemon.run("well", &["sleep", "1000"]).await;
        let shim = shim_pid(&bed, "hung");
        tokio::task::block_in_place(|| stop(shim));
        let listed = engine.list_tasks(scope).await.unwrap();
        assert_eq!(listed.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["well"]);
        let error = engine.get_task(scope, &ProcessId::init("hung")).await.unwrap_err();
        assert_eq!(error.kind(), Kind::DeadlineExceeded);
        assert_eq!(engine.get_task(scope, &ProcessId::init("well")).await.unwrap().status, Status::Running);
        kill_process(shim, Signal::CONT).unwrap();
        assert_eq!(engine.get_task(scope, &ProcessId::init("hung")).await.unwrap().status, Status::Running);
        daemon.end("hung").await;
        daemon.end("well").await;
    });
    bed.assert_clean();
}
