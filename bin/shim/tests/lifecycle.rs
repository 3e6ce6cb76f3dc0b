//! The life of a container and of its execs, with the errors of wrong moments.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use model::Kind;
use prost::Message as _;
use proto::api::containerd::v1::types::Status;
use proto::shim::containerd::task::v3::*;
use proto::shim::io::containerd::cgroups::{v1, v2};
use serde_json::json;
use std::path::Path;
use support::World;

#[test]
fn a_container_from_create_to_shutdown() {
    let mut world = World::new();
    let mut shim = world.shim("c1", &["/bin/sleep", "1000"], |_| ());
    let unknown = shim.client.call::<StateResponse>("State", &StateRequest { id: "c1".into(), ..Default::default() });
    let unknown = unknown.unwrap_err();
    assert_eq!((unknown.kind(), unknown.to_string().as_str()), (Kind::NotFound, "container not created: not found"));

    let pid = shim.create();
    let state = shim.state("");
    assert_eq!((state.pid, state.status(), state.exit_status), (pid, Status::Created, 0));
    let again = shim.create_request();
    assert_eq!(shim.client.call::<CreateTaskResponse>("Create", &again).unwrap_err().kind(), Kind::AlreadyExists);
    assert_eq!(shim.start_process(""), pid);
    assert_eq!(shim.state("").status(), Status::Running);
    let request = StartRequest { id: "c1".into(), ..Default::default() };
    let error = shim.client.call::<StartResponse>("Start", &request).unwrap_err();
    assert_eq!(error.to_string(), "cannot start a running process");
    let request = DeleteRequest { id: "c1".into(), ..Default::default() };
    let error = shim.client.call::<DeleteResponse>("Delete", &request).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::Unknown, "cannot delete a running process"));

    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
    let state = shim.state("");
    assert_eq!((state.status(), state.exit_status), (Status::Stopped, 137));
    assert_eq!(shim.wait(""), 137, "a second wait answers at once");
    let error = shim.kill("", 9).unwrap_err();
    assert_eq!((error.kind(), error.to_string().as_str()), (Kind::NotFound, "process already finished: not found"));
    let deleted = shim.delete("");
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    assert_eq!(world.events.until("c1", "delete"), ["create", "start", "exit=137", "delete"]);
    assert!(!Path::new(&shim.bundle.join("rootfs/usr/bin")).exists(), "the root is unmounted");
    shim.shutdown();
}

#[test]
fn deleting_what_was_never_started_kills_it_first() {
    let mut world = World::new();
    let mut shim = world.shim("c2", &["/bin/true"], |_| ());
    let pid = shim.create();
    let deleted = shim.delete("");
    assert_eq!((deleted.pid, deleted.exit_status), (pid, 137));
    assert_eq!(world.events.until("c2", "delete"), ["create", "exit=137", "delete"]);
    shim.shutdown();
}

#[test]
fn a_create_that_fails_says_why_and_leaves_nothing() {
    let mut world = World::new();
    let mut shim = world.shim("c3", &["/no/such/program"], |_| ());
    let request = shim.create_request();
    let error = shim.client.call::<CreateTaskResponse>("Create", &request).unwrap_err();
    assert_eq!(error.kind(), Kind::Unknown);
    let text = error.to_string();
    assert!(text.starts_with("OCI runtime create failed: ") && text.contains("/no/such/program"), "{text}");
    assert!(!shim.bundle.join("rootfs/usr").exists(), "the root is unmounted");
    let mut bad = shim.create_request();
    bad.options = Some(proto::Any { type_url: "what.Ever".into(), value: vec![1] });
    assert_eq!(shim.client.call::<CreateTaskResponse>("Create", &bad).unwrap_err().kind(), Kind::InvalidArgument);
    let mut bad = shim.create_request();
    bad.id = "../c3".into();
    assert_eq!(shim.client.call::<CreateTaskResponse>("Create", &bad).unwrap_err().kind(), Kind::InvalidArgument);
    // The id is free again.
    std::fs::write(
        shim.bundle.join("config.json"),
        std::fs::read_to_string(shim.bundle.join("config.json")).unwrap().replace("/no/such/program", "/bin/true"),
    )
    .unwrap();
    shim.create();
    shim.start_process("");
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    shim.shutdown();
}

#[test]
fn execs_live_beside_the_first_process_and_end_before_it() {
    let mut world = World::new();
    let mut shim = world.shim("c4", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    shim.start_process("");
    shim.exec("e1", &["/bin/sh", "-c", "exit 7"]);
    assert_eq!(shim.wait("e1"), 7);
    let request = shim.exec_request("e1", &["/bin/true"]);
    assert_eq!(shim.client.call::<()>("Exec", &request).unwrap_err().kind(), Kind::AlreadyExists);
    let deleted = shim.delete("e1");
    assert_eq!(deleted.exit_status, 7);
    let request = StateRequest { id: "c4".into(), exec_id: "e1".into() };
    let error = shim.client.call::<StateResponse>("State", &request).unwrap_err();
    assert_eq!(error.to_string(), "process does not exist e1: not found");

    let request = shim.exec_request("e2", &["/bin/sleep", "1000"]);
    shim.client.call::<()>("Exec", &request).unwrap();
    let error = shim.kill("e2", 9).unwrap_err();
    assert_eq!(
        (error.kind(), error.to_string().as_str()),
        (Kind::FailedPrecondition, "process not created: failed precondition")
    );
    let exec_pid = shim.start_process("e2");
    let pids = shim.client.call::<PidsResponse>("Pids", &PidsRequest { id: "c4".into() }).unwrap();
    let details = pids.processes.iter().find(|process| process.pid == exec_pid).unwrap().info.as_ref().unwrap();
    assert_eq!(details.type_url, "containerd.runc.v1.ProcessDetails");
    assert_eq!(pids.processes.len(), 2);

    let request = shim.exec_request("e3", &["/no/such"]);
    shim.client.call::<()>("Exec", &request).unwrap();
    let error = shim.client.call::<StartResponse>("Start", &StartRequest { id: "c4".into(), exec_id: "e3".into() });
    assert!(error.unwrap_err().to_string().starts_with("OCI runtime exec failed: "));

    shim.kill("", 9).unwrap();
    assert_eq!((shim.wait(""), shim.wait("e2")), (137, 137));
    let events = world.events.until("c4", "exit=137");
    let at =
        |event: &str| events.iter().position(|seen| seen == event).unwrap_or_else(|| panic!("{event}: {events:?}"));
    assert!(at("exec-added e1") < at("exec-started e1") && at("exec-started e1") < at("exit e1=7"));
    assert!(at("exit e2=137") < at("exit=137"), "{events:?}");
    let request = shim.exec_request("e4", &["/bin/true"]);
    let error = shim.client.call::<()>("Exec", &request).unwrap_err();
    assert_eq!(error.to_string(), "cannot exec in a stopped state");
    shim.delete("");
    shim.shutdown();
}

#[test]
fn pause_resume_update_and_stats() {
    let mut world = World::new();
    let mut shim = world.shim("c5", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    let pause = PauseRequest { id: "c5".into() };
    let error = shim.client.call::<()>("Pause", &pause).unwrap_err();
    assert_eq!(error.to_string(), "cannot pause task in created state");
    let pid = shim.start_process("");
    support::await_program(pid, "sleep");
    shim.client.call::<()>("Pause", &pause).unwrap();
    assert_eq!(shim.state("").status(), Status::Paused);
    assert_eq!(shim.client.call::<()>("Pause", &pause).unwrap_err().to_string(), "cannot pause a paused container");
    shim.client.call::<()>("Resume", &ResumeRequest { id: "c5".into() }).unwrap();
    assert_eq!(shim.state("").status(), Status::Running);

    let resources = json!({ "memory": { "limit": 33_554_432 } }).to_string().into_bytes();
    let any = proto::Any { type_url: "resources".into(), value: resources };
    let update = UpdateTaskRequest { id: "c5".into(), resources: Some(any), ..Default::default() };
    shim.client.call::<()>("Update", &update).unwrap();
    let stats = shim.client.call::<StatsResponse>("Stats", &StatsRequest { id: "c5".into() }).unwrap().stats.unwrap();
    let limit = match stats.type_url.as_str() {
        "io.containerd.cgroups.v1.Metrics" => {
            let metrics = v1::Metrics::decode(stats.value.as_slice()).unwrap();
            assert_eq!(metrics.pids.unwrap().current, 1);
            assert!(metrics.cpu.unwrap().usage.unwrap().total > 0);
            metrics.memory.unwrap().usage.unwrap().limit
        }
        "io.containerd.cgroups.v2.Metrics" => {
            v2::Metrics::decode(stats.value.as_slice()).unwrap().memory.unwrap().usage_limit
        }
        other => panic!("{other}"),
    };
    assert_eq!(limit, 33_554_432);

    // A paused container can be killed.
    shim.client.call::<()>("Pause", &pause).unwrap();
    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    let events = world.events.until("c5", "delete");
    assert_eq!(events, ["create", "start", "paused", "resumed", "paused", "exit=137", "delete"]);
    shim.shutdown();
}

#[test]
fn a_group_shares_one_shim_which_outlives_its_first_container() {
    let mut world = World::new();
    let group = |spec: &mut serde_json::Value| spec["annotations"] = json!({ "io.containerd.runc.v2.group": "pod" });
    let mut first = world.shim("g1", &["/bin/sleep", "1000"], group);
    let bundle = world.bundle("g2", &["/bin/sleep", "1000"], group);
    assert_eq!(world.start("g2"), first.socket);
    first.create();
    first.start_process("");
    let request =
        CreateTaskRequest { id: "g2".into(), bundle: bundle.to_string_lossy().into_owned(), ..first.create_request() };
    first.client.call::<CreateTaskResponse>("Create", &request).unwrap();
    first.kill("", 9).unwrap();
    first.wait("");
    first.delete("");
    std::fs::remove_dir_all(&first.bundle).unwrap();
    first.client.call::<()>("Shutdown", &ShutdownRequest { id: "g1".into(), now: false }).unwrap();
    first.id = "g2".into();
    first.bundle = bundle;
    assert_eq!(first.state("").status(), Status::Created, "the shim is still there");
    let pid = first.start_process("");
    support::await_program(pid, "sleep");
    first.kill("", 15).unwrap();
    first.kill("", 9).unwrap();
    assert_eq!(first.wait(""), 137);
    first.delete("");
    first.shutdown();
}

#[test]
fn unknown_services_methods_and_noise_do_not_disturb() {
    let mut world = World::new();
    let mut shim = world.shim("c6", &["/bin/true"], |_| ());
    let stream = shim.client.send_to("what.Ever", "State", &());
    assert_eq!(shim.client.receive::<()>(stream).unwrap_err().kind(), Kind::Unimplemented);
    assert_eq!(shim.client.call::<()>("Juggle", &()).unwrap_err().to_string(), "method Juggle");
    let stream = shim.client.send_to("containerd.task.v2.Task", "Connect", &ConnectRequest { id: "c6".into() });
    assert_eq!(shim.client.receive::<ConnectResponse>(stream).unwrap().shim_pid, shim.pid);
    let mut noisy = support::client::Client::connect(&shim.socket);
    std::io::Write::write_all(&mut noisy.socket, &[0xff; 5000]).unwrap();
    shim.create();
    shim.start_process("");
    assert_eq!(shim.wait(""), 0);
    let error = shim.kill("", 4000).unwrap_err();
    assert_eq!(error.kind(), Kind::NotFound);
    shim.delete("");
    shim.shutdown();
}

#[test]
fn a_checkpoint_that_cannot_be_made_says_why_and_the_container_runs_on() {
    let mut world = World::new();
    let mut shim = world.shim("c7", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    let image = world.path("image").to_string_lossy().into_owned();
    let request = CheckpointTaskRequest { id: "c7".into(), path: image, options: None };
    let error = shim.client.call::<()>("Checkpoint", &request).unwrap_err();
    assert_eq!(error.to_string(), "cannot checkpoint a task in created state");
    shim.start_process("");
    // Where CRIU works the checkpoint succeeds and leaves the container running as well.
    if let Err(error) = shim.client.call::<()>("Checkpoint", &request) {
        assert!(error.to_string().contains("criu-dump.log"), "{error}");
    }
    assert_eq!(shim.state("").status(), Status::Running);
    shim.kill("", 9).unwrap();
    shim.wait("");
    shim.delete("");
    shim.shutdown();
}
