//! A task's orderly life: every verb, the order of events, and the errors in between.

use crate::bed::{Bed, for_each_shim, next, run};
use engine::{Exec, ProcessId, Status, Stdio};
use model::{Any, Kind};
use serde_json::json;
use std::{fs, time::Duration};
use tests::Impl;

for_each_shim! {
    a_container_runs_and_its_events_come_in_order,
    an_exec_ends_before_its_init_and_keeps_its_exit_status,
    verbs_on_a_running_container,
    errors_have_containerds_kinds,
    containers_of_a_pod_share_a_shim,
}

fn a_container_runs_and_its_events_come_in_order(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        let mut events = daemon.events();
        daemon.container("c", &["sh", "-c", "exit 7"]);
        let init = ProcessId::init("c");
        let pid = daemon.engine.create_task(&daemon.scope, daemon.task("c")).await.unwrap();
        assert!(pid > 0);
        let state = daemon.engine.get_task(&daemon.scope, &init).await.unwrap();
        assert_eq!((state.status, state.pid, state.id.as_str()), (Status::Created, pid, "c"));
        for name in ["config.json", "rootfs", "work", "log", "bootstrap.json", "shim-binary-path"] {
            assert!(bed.bundle("c").join(name).exists(), "{name}");
        }
        assert_eq!(daemon.engine.start(&daemon.scope, &init).await.unwrap(), pid);
        let exit = daemon.engine.wait(&daemon.scope, &init).await.unwrap();
        assert_eq!(exit.status, 7);
        assert!(exit.at.is_some());
        // A wait after the end answers at once.
        assert_eq!(daemon.engine.wait(&daemon.scope, &init).await.unwrap().status, 7);
        let state = daemon.engine.get_task(&daemon.scope, &init).await.unwrap();
        assert_eq!((state.status, state.exit_status), (Status::Stopped, 7));
        let deleted = daemon.engine.delete_task(&daemon.scope, "c").await.unwrap();
        assert_eq!((deleted.status, deleted.pid), (7, pid));
        for expected in ["create", "start", "exit", "delete"] {
            assert_eq!(next(&mut events).await, format!("/tasks/{expected} c"));
        }
        let again = daemon.engine.get_task(&daemon.scope, &init).await.unwrap_err();
        assert_eq!((again.kind(), again.to_string()), (Kind::NotFound, "task c not found".to_owned()));
        // The name is free at once.
        daemon.engine.create_task(&daemon.scope, daemon.task("c")).await.unwrap();
        daemon.engine.delete_task(&daemon.scope, "c").await.unwrap();
        daemon.engine.shutdown().await;
        let refused = daemon.engine.create_task(&daemon.scope, daemon.task("c")).await.unwrap_err();
        assert_eq!(refused.kind(), Kind::Unavailable);
    });
    bed.assert_clean();
}

fn exec(id: &str, args: &[&str]) -> Exec {
    let process = json!({ "user": { "uid": 0, "gid": 0 }, "args": args, "env": ["PATH=/bin"], "cwd": "/" });
    let type_url = "types.containerd.io/opencontainers/runtime-spec/1/Process".to_owned();
    Exec {
        container: "c".to_owned(),
        exec_id: id.to_owned(),
        stdio: Stdio::default(),
        spec: Some(Any { type_url, value: process.to_string().into_bytes() }),
    }
}

fn an_exec_ends_before_its_init_and_keeps_its_exit_status(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        let (engine, scope) = (&daemon.engine, &daemon.scope);
        let mut events = daemon.events();
        daemon.run("c", &["sleep", "1000"]).await;
        for expected in ["create", "start"] {
            assert_eq!(next(&mut events).await, format!("/tasks/{expected} c"));
        }
        let process = ProcessId::new("c", "e");
        engine.exec(scope, exec("e", &["sh", "-c", "exit 3"])).await.unwrap();
        assert_eq!(engine.exec(scope, exec("e", &["true"])).await.unwrap_err().kind(), Kind::AlreadyExists);
        assert!(engine.start(scope, &process).await.unwrap() > 0);
        assert_eq!(engine.wait(scope, &process).await.unwrap().status, 3);
        assert_eq!(engine.get_task(scope, &process).await.unwrap().status, Status::Stopped);
        assert_eq!(engine.delete_process(scope, "c", "e").await.unwrap().status, 3);
        for expected in ["exec-added", "exec-started", "exit"] {
            assert_eq!(next(&mut events).await, format!("/tasks/{expected} e"));
        }
        // An exec that lives as long as the container ends first.
        engine.exec(scope, exec("long", &["sleep", "1000"])).await.unwrap();
        engine.start(scope, &ProcessId::new("c", "long")).await.unwrap();
        daemon.end("c").await;
        let mut seen = Vec::new();
        while seen.last().is_none_or(|last| last != "/tasks/delete c") {
            seen.push(next(&mut events).await);
        }
        let at = |wanted: &str| {
            seen.iter().position(|event| event == wanted).unwrap_or_else(|| panic!("{wanted}: {seen:?}"))
        };
        assert!(at("/tasks/exit long") < at("/tasks/exit c"), "{seen:?}");
    });
    bed.assert_clean();
}

fn verbs_on_a_running_container(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        let (engine, scope) = (&daemon.engine, &daemon.scope);
        let pid = daemon.run("c", &["sleep", "1000"]).await;
        daemon.run("d", &["sleep", "1000"]).await;
        let init = ProcessId::init("c");
        engine.pause(scope, "c").await.unwrap();
        assert_eq!(engine.get_task(scope, &init).await.unwrap().status, Status::Paused);
        engine.resume(scope, "c").await.unwrap();
        assert_eq!(engine.get_task(scope, &init).await.unwrap().status, Status::Running);
        assert_eq!(engine.pids(scope, "c").await.unwrap()[0].pid, pid);
        let listed = engine.list_tasks(scope).await.unwrap();
        assert_eq!(listed.iter().map(|task| task.id.as_str()).collect::<Vec<_>>(), ["c", "d"]);
        let metrics = engine.metrics(scope, &[]).await.unwrap();
        assert_eq!(metrics.len(), 2);
        assert!(metrics[0].data.as_ref().unwrap().type_url.starts_with("io.containerd.cgroups."));
        assert_eq!(engine.metrics(scope, &["id==d".to_owned()]).await.unwrap()[0].id, "d");
        let resources = json!({ "pids": { "limit": 50 } }).to_string().into_bytes();
        let type_url = "types.containerd.io/opencontainers/runtime-spec/1/LinuxResources".to_owned();
        engine.update(scope, "c", Some(Any { type_url, value: resources }), Default::default()).await.unwrap();
        // Under v1, or v2.
        let limits = ["/sys/fs/cgroup/pids", "/sys/fs/cgroup"].map(|at| format!("{at}/{}/c/pids.max", bed.namespace()));
        let limit = limits.iter().find_map(|limit| fs::read_to_string(limit).ok()).expect("a limit");
        assert_eq!(limit.trim(), "50");
        // Nobody has the pending wait's answer yet.
        let waiting = tokio::time::timeout(Duration::from_millis(50), engine.wait(scope, &init)).await;
        assert!(waiting.is_err());
        daemon.end("c").await;
        daemon.end("d").await;
        let info = engine.runtime_info("io.containerd.runc.v2", None).await.unwrap();
        assert_eq!(info.name, "io.containerd.runc.v2");
        assert!(info.features.is_some());
    });
    bed.assert_clean();
}

fn errors_have_containerds_kinds(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        let (engine, scope) = (&daemon.engine, &daemon.scope);
        let kind = async |id: &str| engine.create_task(scope, daemon.task(id)).await.unwrap_err().kind();
        assert_eq!(kind("absent").await, Kind::NotFound);
        daemon.container("c", &["sleep", "1000"]);
        engine.create_task(scope, daemon.task("c")).await.unwrap();
        assert_eq!(kind("c").await, Kind::AlreadyExists);
        let init = ProcessId::init("c");
        engine.start(scope, &init).await.unwrap();
        // The kind is the shim's: Go's says Unknown.
        let error = engine.delete_task(scope, "c").await.unwrap_err();
        assert!(error.to_string().contains("cannot delete a running process"), "{error}");
        let nobody = ProcessId::new("c", "nobody");
        assert_eq!(engine.get_task(scope, &nobody).await.unwrap_err().kind(), Kind::NotFound);
        assert_eq!(engine.kill(scope, &nobody, 9, false).await.unwrap_err().kind(), Kind::NotFound);
        let mut bad = exec("a/b", &["true"]);
        assert_eq!(engine.exec(scope, bad.clone()).await.unwrap_err().kind(), Kind::InvalidArgument);
        bad.exec_id.clear();
        assert_eq!(engine.exec(scope, bad).await.unwrap_err().kind(), Kind::InvalidArgument);
        daemon.end("c").await;

        // A program that is not there: the shim's words, and nothing left.
        daemon.container("missing", &["/no/such/program"]);
        let failed = async {
            engine.create_task(scope, daemon.task("missing")).await?;
            engine.start(scope, &ProcessId::init("missing")).await
        };
        let error = failed.await.unwrap_err();
        assert!(error.to_string().contains("/no/such/program"), "{error}");
        let _if_created = engine.delete_task(scope, "missing").await;

        let mut odd = daemon.task("missing");
        odd.runtime_path = "io.containerd.nosuch.v9".to_owned();
        let error = engine.create_task(scope, odd).await.unwrap_err();
        assert!(error.to_string().contains("containerd-shim-nosuch-v9"), "{error}");
    });
    bed.assert_clean();
}

fn containers_of_a_pod_share_a_shim(shim: Impl) {
    let bed = Bed::new(shim);
    run(async {
        let daemon = bed.open().await;
        let (engine, scope) = (&daemon.engine, &daemon.scope);
        for id in ["pause", "app"] {
            daemon.container_with(id, &["sleep", "1000"], &json!({ "io.kubernetes.cri.sandbox-id": "pause" }));
            engine.create_task(scope, daemon.task(id)).await.unwrap();
            engine.start(scope, &ProcessId::init(id)).await.unwrap();
        }
        let address = |id: &str| fs::read(bed.bundle(id).join("bootstrap.json")).unwrap();
        assert_eq!(address("pause"), address("app"));
        daemon.end("pause").await;
        // The shim serves on, although the container it was started for is gone.
        assert_eq!(engine.get_task(scope, &ProcessId::init("app")).await.unwrap().status, Status::Running);
        daemon.end("app").await;
    });
    bed.assert_clean();
}
