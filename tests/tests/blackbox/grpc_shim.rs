//! A shim that speaks gRPC in place of ttrpc: its whole life, over a death of the daemon, and its own death.
//!
//! Not with Go's daemon of 2.1.9, nor its source of 2.4: it takes the new connection, idle before the first call, for
//! the end of the shim, and cleans up while it creates the container.

use std::os::unix::fs::symlink;
use std::path::Path;

use proto::api::containerd::services::containers::v1::{CreateContainerRequest, DeleteContainerRequest};
use proto::api::containerd::services::events::v1::SubscribeRequest;
use proto::api::containerd::services::tasks::v1::{
    DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest, GetRequest, KillRequest, ListPidsRequest,
    MetricsRequest, PauseTaskRequest, ResumeTaskRequest, StartRequest, WaitRequest,
};
use proto::api::containerd::v1::types::Status as TaskStatus;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use tests::api::Api;
use tests::leaks::entries;
use tests::{Bed, bare, eventually, rows};
use tonic::Code;

rows! { serves_every_call: ours(Ours Ours Go) our_daemon_go_shim(Ours Go Go) }
rows! { survives_the_daemon: ours(Ours Ours Go) our_daemon_go_shim(Ours Go Go) }
rows! { is_cleaned_up_after: ours(Ours Ours Go) our_daemon_go_shim(Ours Go Go) }

/// A running container under the shim, which has the row's shim do the work.
fn run(bed: &Bed, id: &str) -> Api {
    let link = bed.daemon.dir().join("bin/containerd-shim-grpc-v1");
    symlink(env!("CARGO_BIN_EXE_grpc-shim"), link).unwrap();
    let api = bed.api();
    let mut container = bare::container(id, bed.daemon.namespace(), &["/bin/sleep", "100000"]);
    container.runtime.as_mut().unwrap().name = "io.containerd.grpc.v1".into();
    api.call(api.containers().create(CreateContainerRequest { container: Some(container) })).unwrap();
    let rootfs = bare::rootfs(bed.daemon.dir(), &["sleep", "true"]);
    api.call(api.tasks().create(bare::create(id, &rootfs))).unwrap();
    start(&api, id, "");
    api
}

fn start(api: &Api, id: &str, exec_id: &str) {
    let request = StartRequest { container_id: id.into(), exec_id: exec_id.into() };
    let pid = api.call(api.tasks().start(request)).unwrap().into_inner().pid;
    assert!(pid > 1, "{pid}");
}

fn status(api: &Api, id: &str) -> Result<TaskStatus, tonic::Status> {
    let request = GetRequest { container_id: id.into(), exec_id: String::new() };
    api.call(api.tasks().get(request)).map(|process| process.into_inner().process.unwrap().status())
}

fn wait(api: &Api, id: &str, exec_id: &str) -> u32 {
    let request = WaitRequest { container_id: id.into(), exec_id: exec_id.into() };
    api.call(api.tasks().wait(request)).unwrap().into_inner().exit_status
}

/// Kills, awaits and deletes the task, then its record.
fn end(api: &Api, id: &str) {
    let request = KillRequest { container_id: id.into(), signal: 9, ..Default::default() };
    api.call(api.tasks().kill(request)).unwrap();
    assert_eq!(wait(api, id, ""), 137);
    let request = DeleteTaskRequest { container_id: id.into() };
    assert_eq!(api.call(api.tasks().delete(request)).unwrap().into_inner().exit_status, 137);
    assert_eq!(status(api, id).unwrap_err().code(), Code::NotFound);
    api.call(api.containers().delete(DeleteContainerRequest { id: id.into() })).unwrap();
}

fn serves_every_call(bed: &mut Bed) {
    let watcher = bed.api();
    let request = SubscribeRequest { filters: vec!["topic~=\"^/tasks/\"".into()] };
    let mut stream = watcher.call(watcher.events().subscribe(request)).unwrap().into_inner();
    let events = watcher.runtime().spawn(async move {
        let mut topics = Vec::new();
        while topics.last().is_none_or(|last| last != "/tasks/exit" || topics.len() < 4) {
            topics.push(stream.message().await.unwrap().expect("an event").topic);
        }
        topics
    });
    let api = run(bed, "box");
    assert_eq!(status(&api, "box").unwrap(), TaskStatus::Running);
    let container_id = || "box".to_owned();

    let spec = json!({ "user": { "uid": 0, "gid": 0 }, "args": ["/bin/true"], "cwd": "/" });
    let spec = prost_types::Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".into(),
        value: spec.to_string().into_bytes(),
    };
    let exec = ExecProcessRequest {
        container_id: container_id(),
        exec_id: "e".into(),
        spec: Some(spec),
        ..Default::default()
    };
    api.call(api.tasks().exec(exec.clone())).unwrap();
    assert_eq!(api.call(api.tasks().exec(exec)).unwrap_err().code(), Code::AlreadyExists, "an error has its code");
    start(&api, "box", "e");
    assert_eq!(wait(&api, "box", "e"), 0);
    let request = DeleteProcessRequest { container_id: container_id(), exec_id: "e".into() };
    assert_eq!(api.call(api.tasks().delete_process(request)).unwrap().into_inner().exit_status, 0);

    let pids = api.call(api.tasks().list_pids(ListPidsRequest { container_id: container_id() })).unwrap();
    assert_eq!(pids.into_inner().processes.len(), 1);
    let metrics = api.call(api.tasks().metrics(MetricsRequest::default())).unwrap().into_inner().metrics;
    assert!(metrics.len() == 1 && metrics[0].data.is_some(), "{metrics:?}");
    api.call(api.tasks().pause(PauseTaskRequest { container_id: container_id() })).unwrap();
    assert_eq!(status(&api, "box").unwrap(), TaskStatus::Paused);
    api.call(api.tasks().resume(ResumeTaskRequest { container_id: container_id() })).unwrap();
    end(&api, "box");

    let topics = watcher.block_on(events).unwrap();
    let topics: Vec<&str> = topics.iter().filter_map(|topic| topic.strip_prefix("/tasks/")).collect();
    let expected = ["create", "start", "exec-added", "exec-started", "exit", "paused", "resumed", "exit"];
    assert!(expected.starts_with(&topics) && topics.len() > 4, "{topics:?}");
}

fn survives_the_daemon(bed: &mut Bed) {
    drop(run(bed, "box"));
    bed.daemon.kill();
    bed.daemon.restart();
    let api = bed.api();
    assert_eq!(status(&api, "box").unwrap(), TaskStatus::Running);
    end(&api, "box");
}

fn is_cleaned_up_after(bed: &mut Bed) {
    let api = run(bed, "box");
    // The one that does the work; the other follows it.
    let namespace = bed.daemon.namespace();
    let worker = entries(Path::new("/proc")).into_iter().find_map(|path| {
        let command = String::from_utf8(std::fs::read(path.join("cmdline")).ok()?).ok()?;
        let is_worker =
            command.contains("containerd-shim-runc-v2") && command.split('\0').any(|word| word == namespace);
        if is_worker { path.file_name()?.to_str()?.parse().ok() } else { None }
    });
    kill_process(worker.and_then(Pid::from_raw).unwrap(), Signal::KILL).unwrap();
    eventually("the task to be gone", || status(&api, "box").is_err_and(|error| error.code() == Code::NotFound));
    api.call(api.containers().delete(DeleteContainerRequest { id: "box".into() })).unwrap();
}
