//! Short-lived processes: a task of `true` from create to delete, and an exec of `true`, over gRPC.

use std::time::Instant;

use proto::api::containerd::services::snapshots::v1::MountsRequest;
use proto::api::containerd::services::tasks::v1::{
    CreateTaskRequest, DeleteProcessRequest, DeleteTaskRequest, ExecProcessRequest, StartRequest, WaitRequest,
};
use tests::api::Api;
use tests::bed::BUSYBOX;
use tests::{Daemon, Impl, image};
use tonic::Status;

use crate::table::Table;

const ROUNDS: usize = 30;
const CLIENTS: usize = 8;
const EACH: usize = 8;

pub(crate) fn run(table: &mut Table) {
    let daemons = crate::SIDES.map(crate::daemon);
    for daemon in &daemons {
        let ctr = daemon.ctr(Impl::Go);
        ctr.ok(&format!("images import --local {}", image::busybox_archive().display()));
        for client in 0..CLIENTS {
            ctr.ok(&format!("containers create {BUSYBOX} true{client} true"));
        }
        ctr.ok(&format!("run -d --null-io {BUSYBOX} box sleep 10000"));
    }
    let apis = daemons.each_ref().map(|daemon| Api::connect(&daemon.socket(), daemon.namespace()));
    for round in 0..ROUNDS {
        for (side, api) in crate::SIDES.iter().zip(&apis) {
            let took = timed(|| task(api, "true0"));
            table.add(*side, "create + start + wait + delete of `true`", "ms", Some(0.6), took);
            let took = timed(|| exec(api, &format!("exec{round}")));
            table.add(*side, "exec + start + wait + delete of `true`", "ms", Some(0.7), took);
        }
    }
    for _ in 0..3 {
        for (side, daemon) in crate::SIDES.iter().zip(&daemons) {
            let took = timed(|| in_parallel(daemon)) / (CLIENTS * EACH) as f64;
            table.add(*side, "the same task, 8 clients, each", "ms", Some(0.59), took);
        }
    }
    for daemon in &daemons {
        daemon.ctr(Impl::Go).ok("tasks rm -f box");
    }
}

fn timed(work: impl FnOnce()) -> f64 {
    let start = Instant::now();
    work();
    start.elapsed().as_secs_f64() * 1e3
}

fn in_parallel(daemon: &Daemon) {
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            scope.spawn(move || {
                let api = Api::connect(&daemon.socket(), daemon.namespace());
                (0..EACH).for_each(|_| task(&api, &format!("true{client}")));
            });
        }
    });
}

fn task(api: &Api, id: &str) {
    let container_id = id.to_owned();
    let run = async {
        let (mut tasks, mut waiter) = (api.tasks(), api.tasks());
        let mounts = MountsRequest { snapshotter: "overlayfs".to_owned(), key: id.to_owned() };
        let rootfs = api.snapshots().mounts(mounts).await?.into_inner().mounts;
        tasks.create(CreateTaskRequest { container_id: container_id.clone(), rootfs, ..Default::default() }).await?;
        let wait = waiter.wait(WaitRequest { container_id: container_id.clone(), exec_id: String::new() });
        let start = tasks.start(StartRequest { container_id: container_id.clone(), exec_id: String::new() });
        let (started, exited) = tokio::join!(start, wait);
        started?;
        assert_eq!(exited?.into_inner().exit_status, 0);
        tasks.delete(DeleteTaskRequest { container_id }).await?;
        Ok::<(), Status>(())
    };
    api.call(run).expect("run a task");
}

fn exec(api: &Api, exec_id: &str) {
    let (container_id, exec_id) = ("box".to_owned(), exec_id.to_owned());
    let process = r#"{"user":{"uid":0,"gid":0},"args":["true"],"env":["PATH=/bin"],"cwd":"/"}"#;
    let spec = prost_types::Any {
        type_url: "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned(),
        value: process.as_bytes().to_vec(),
    };
    let run = async {
        let (mut tasks, mut waiter) = (api.tasks(), api.tasks());
        let (id, exec) = (|| container_id.clone(), || exec_id.clone());
        let request =
            ExecProcessRequest { container_id: id(), exec_id: exec(), spec: Some(spec), ..Default::default() };
        tasks.exec(request).await?;
        let wait = waiter.wait(WaitRequest { container_id: id(), exec_id: exec() });
        let start = tasks.start(StartRequest { container_id: id(), exec_id: exec() });
        let (started, exited) = tokio::join!(start, wait);
        started?;
        assert_eq!(exited?.into_inner().exit_status, 0);
        tasks.delete_process(DeleteProcessRequest { container_id: id(), exec_id: exec() }).await?;
        Ok::<(), Status>(())
    };
    api.call(run).expect("run an exec");
}
