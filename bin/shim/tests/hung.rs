//! A runtime that does not end: its caller gets an error in time, and nobody else waits for it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use proto::api::containerd::v1::types::Status;
use proto::shim::containerd::task::v3::*;
use serde_json::json;
use std::fs;
use std::time::Duration;
use support::{World, eventually, runtime};

const SERVICE: &str = "containerd.task.v3.Task";
const PATIENCE_OF_CALLER: Duration = Duration::from_secs(15);

/// Hangs at the verb whose name is in the file `hang`, if there is one.
fn hanging(world: &World) -> String {
    let hang = world.path("hang");
    let script = format!(
        "verb=; [ -e {hang} ] && read -r verb <{hang}
        for word; do if [ \"$word\" = \"$verb\" ]; then : >{hang}-now; exec sleep 1000; fi; done",
        hang = hang.display()
    );
    runtime(&world.path("runtime"), &script)
}

#[test]
fn a_hung_pause_ends_with_its_caller_and_holds_up_no_other() {
    let mut world = World::new();
    let group = |spec: &mut serde_json::Value| spec["annotations"] = json!({ "io.containerd.runc.v2.group": "pod" });
    let mut shim = world.shim("h1", &["/bin/sleep", "1000"], group);
    shim.options.binary_name = hanging(&world);
    let bundle = world.bundle("h2", &["/bin/sleep", "1000"], group);
    shim.create();
    shim.start_process("");
    let other =
        CreateTaskRequest { id: "h2".into(), bundle: bundle.to_string_lossy().into_owned(), ..shim.create_request() };
    shim.client.call::<CreateTaskResponse>("Create", &other).unwrap();

    fs::write(world.path("hang"), "pause").unwrap();
    let pause = PauseRequest { id: "h1".into() };
    let hung = shim.client.send_for(PATIENCE_OF_CALLER, SERVICE, "Pause", &pause);
    eventually("the runtime hangs", || world.path("hang-now").exists());
    // Meanwhile the container answers, takes execs and signals, and its neighbour is created, started, deleted.
    assert_eq!(shim.state("").status(), Status::Pausing);
    shim.exec("e", &["/bin/true"]);
    assert_eq!(shim.wait("e"), 0);
    shim.client.call::<StatsResponse>("Stats", &StatsRequest { id: "h1".into() }).unwrap();
    let neighbour = StartRequest { id: "h2".into(), exec_id: String::new() };
    shim.client.call::<StartResponse>("Start", &neighbour).unwrap();
    let kill = KillRequest { id: "h2".into(), signal: 9, ..KillRequest::default() };
    shim.client.call::<()>("Kill", &kill).unwrap();
    shim.client.call::<WaitResponse>("Wait", &WaitRequest { id: "h2".into(), exec_id: String::new() }).unwrap();
    shim.client.call::<DeleteResponse>("Delete", &DeleteRequest { id: "h2".into(), exec_id: String::new() }).unwrap();

    let error = shim.client.receive::<()>(hung).unwrap_err().to_string();
    assert!(error.contains("did not terminate successfully"), "{error}");
    assert_eq!(shim.state("").status(), Status::Running);
    // The container takes calls of the runtime again.
    fs::remove_file(world.path("hang")).unwrap();
    shim.client.call::<()>("Pause", &pause).unwrap();
    shim.client.call::<()>("Resume", &ResumeRequest { id: "h1".into() }).unwrap();
    shim.kill("", 9).unwrap();
    assert_eq!(shim.wait(""), 137);
    shim.delete("");
    shim.shutdown();
}

#[test]
fn a_hung_create_leaves_nothing_and_can_be_tried_again() {
    let mut world = World::new();
    let mut shim = world.shim("h3", &["/bin/true"], |_| ());
    shim.options.binary_name = hanging(&world);
    fs::write(world.path("hang"), "create").unwrap();
    let request = shim.create_request();
    let hung = shim.client.send_for(PATIENCE_OF_CALLER, SERVICE, "Create", &request);
    let error = shim.client.receive::<CreateTaskResponse>(hung).unwrap_err().to_string();
    assert!(error.starts_with("OCI runtime create failed"), "{error}");
    fs::remove_file(world.path("hang")).unwrap();
    shim.create();
    shim.start_process("");
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    shim.shutdown();
}
