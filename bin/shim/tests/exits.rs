//! No exit and no OOM is lost or out of order, whatever the processes or the daemon do.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use proto::shim::containerd::task::v3::*;
use serde_json::{Value, json};
use std::fs;
use support::events::EventServer;
use support::{World, eventually, fifo, is_running};

fn without_pid_namespace(spec: &mut Value) {
    let namespaces = spec["linux"]["namespaces"].as_array_mut().unwrap();
    namespaces.retain(|namespace| namespace["type"] != "pid");
}

#[test]
fn twenty_containers_that_end_at_once() {
    let mut world = World::new();
    for round in 0..20 {
        let id = format!("q{round}");
        let mut shim = world.shim(&id, &["/bin/sh", "-c", "exit 5"], |_| ());
        shim.create();
        shim.start_process("");
        assert_eq!(shim.wait(""), 5);
        shim.delete("");
        assert_eq!(world.events.until(&id, "delete"), ["create", "start", "exit=5", "delete"]);
        shim.shutdown();
    }
}

#[test]
fn what_outlives_its_parent_in_a_shared_pid_namespace_is_killed_and_reaped() {
    let mut world = World::new();
    let stdin = fifo(&world.path("in"));
    let script = "for i in 1 2 3; do setsid sleep 1000 & done; read x; exit 4";
    let mut shim = world.shim("p1", &["/bin/sh", "-c", script], without_pid_namespace);
    let request = CreateTaskRequest { stdin: stdin.clone(), ..shim.create_request() };
    shim.client.call::<CreateTaskResponse>("Create", &request).unwrap();
    shim.start_process("");
    let request = PidsRequest { id: "p1".into() };
    let mut pids = Vec::new();
    eventually("all have started", || {
        pids =
            shim.client.call::<PidsResponse>("Pids", &request).unwrap().processes.iter().map(|one| one.pid).collect();
        pids.len() >= 4
    });
    fs::write(&stdin, "\n").unwrap();
    assert_eq!(shim.wait(""), 4);
    eventually("all have ended", || !pids.iter().any(|&pid| fs::exists(format!("/proc/{pid}")).unwrap()));
    shim.delete("");
    assert_eq!(world.events.until("p1", "delete"), ["create", "start", "exit=4", "delete"]);
    shim.shutdown();
}

#[test]
fn orphans_are_reaped_while_the_container_runs() {
    let mut world = World::new();
    let script = "i=0; while [ $i -lt 200 ]; do (true &); i=$((i+1)); done; exec sleep 1000";
    let mut shim = world.shim("p2", &["/bin/sh", "-c", script], without_pid_namespace);
    shim.create();
    let pid = shim.start_process("");
    let children = format!("/proc/{}/task/{}/children", shim.pid, shim.pid);
    eventually("only the first process is left", || {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap();
        name.trim() == "sleep" && fs::read_to_string(&children).unwrap().trim() == pid.to_string()
    });
    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    shim.shutdown();
}

#[test]
fn a_container_that_ignores_sigterm_ends_by_sigkill() {
    let mut world = World::new();
    let mut shim = world.shim("k1", &["/bin/sh", "-c", "trap '' TERM; while :; do sleep 1; done"], |_| ());
    shim.create();
    let pid = shim.start_process("");
    eventually("SIGTERM is ignored", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let ignored = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).unwrap();
        u64::from_str_radix(ignored.trim(), 16).unwrap() & 1 << (15 - 1) != 0
    });
    shim.kill("", 15).unwrap();
    let request = KillRequest { id: "k1".into(), signal: 15, all: true, ..Default::default() };
    shim.client.call::<()>("Kill", &request).unwrap();
    assert!(is_running(pid));
    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    shim.shutdown();
}

#[test]
fn running_out_of_memory_is_told_before_the_exit() {
    let mut world = World::new();
    let limit = |spec: &mut Value| {
        spec["linux"]["resources"] = json!({ "memory": { "limit": 16_777_216, "swap": 16_777_216 } });
    };
    for round in 0..5 {
        let id = format!("m{round}");
        let fill = ["/bin/dd", "if=/dev/zero", "of=/tmp/fill", "bs=1M", "count=200"];
        let mut shim = world.shim(&id, &fill, limit);
        shim.create();
        shim.start_process("");
        assert_eq!(shim.wait(""), 137);
        shim.delete("");
        assert_eq!(world.events.until(&id, "delete"), ["create", "start", "oom", "exit=137", "delete"]);
        shim.shutdown();
    }
}

#[test]
fn events_wait_for_a_daemon_that_is_away() {
    let mut world = World::new();
    let mut shim = world.shim("d1", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    shim.start_process("");
    world.events.until("d1", "start");
    world.events.stop();
    for exec in ["e1", "e2", "e3"] {
        shim.exec(exec, &["/bin/sh", "-c", "exit 2"]);
        assert_eq!(shim.wait(exec), 2);
    }
    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
    let journal = fs::metadata(shim.bundle.join("events.journal")).unwrap().len();
    assert!(journal > 8, "they are on disk");
    world.events = EventServer::start(&world.path("e.sock"));
    let events = world.events.until("d1", "exit=137");
    let expected: Vec<String> = ["e1", "e2", "e3"]
        .iter()
        .flat_map(|exec| [format!("exec-added {exec}"), format!("exec-started {exec}"), format!("exit {exec}=2")])
        .chain(["exit=137".to_owned()])
        .collect();
    // The last event before the daemon went may have arrived twice, never not at all.
    assert!(events.ends_with(&expected), "{events:?}");
    eventually("the journal is empty", || fs::metadata(shim.bundle.join("events.journal")).unwrap().len() == 8);
    shim.delete("");
    shim.shutdown();
}

#[test]
fn a_shim_killed_while_its_container_runs_leaves_work_for_delete() {
    let mut world = World::new();
    let mut shim = world.shim("z1", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    let pid = shim.start_process("");
    sys::process::kill(shim.pid, 9).unwrap();
    eventually("the shim has ended", || !is_running(shim.pid));
    assert!(is_running(pid), "the container outlives its shim");
    let deleted = world.delete("z1");
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    assert!(deleted.exited_at.unwrap().seconds > 1_000_000_000);
    eventually("the container has ended", || !is_running(pid));
    assert!(!shim.bundle.join("rootfs/usr").exists(), "the root is unmounted");
    assert_eq!(fs::read_dir(world.path("runc/shimtest")).unwrap().count(), 0);
    // It can be called again.
    assert_eq!(world.delete("z1").exit_status, 137);
    // A new shim takes the socket of the dead one.
    assert_eq!(world.start("z1"), shim.socket);
    let mut client = support::client::Client::connect(&shim.socket);
    client.call::<()>("Shutdown", &ShutdownRequest { id: "z1".into(), now: true }).unwrap();
}

#[test]
fn an_exit_recorded_before_the_shim_was_killed_is_what_delete_reports() {
    let mut world = World::new();
    let mut shim = world.shim("z2", &["/bin/sh", "-c", "exit 9"], |_| ());
    shim.create();
    world.events.until("z2", "create");
    world.events.stop();
    shim.exec("e", &["/bin/true"]);
    shim.wait("e");
    shim.start_process("");
    assert_eq!(shim.wait(""), 9);
    sys::process::kill(shim.pid, 9).unwrap();
    eventually("the shim has ended", || !is_running(shim.pid));
    world.events = EventServer::start(&world.path("e.sock"));
    assert_eq!(world.delete("z2").exit_status, 9);
    // containerd makes the container's own exit out of this answer; the rest was kept.
    let events = world.events.of("z2");
    assert!(
        events.ends_with(&[
            "exec-added e".to_owned(),
            "exec-started e".to_owned(),
            "exit e=0".to_owned(),
            "start".to_owned()
        ]),
        "{events:?}"
    );
}
