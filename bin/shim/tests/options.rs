//! `containerd.runc.v1.Options`, seen from the process, the runtime and the kernel.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

use proto::shim::containerd::task::v3::*;
use std::fs;
use std::path::Path;
use support::{World, eventually, fifo, read_all, reader, runtime};

/// Stdio belongs to the user that the client names, so that a process without privileges can open it again.
#[test]
fn pipes_belong_to_the_user_of_the_options() {
    let mut world = World::new();
    let script = "stat -L -c %u:%g /proc/self/fd/1 && echo again > /dev/fd/1";
    let mut shim = world.shim("o1", &["/bin/sh", "-c", script], |spec| {
        spec["process"]["user"] = serde_json::json!({ "uid": 1234, "gid": 56 });
    });
    (shim.options.io_uid, shim.options.io_gid) = (1234, 56);
    let path = fifo(&world.path("out"));
    let out = reader(&path);
    let request = CreateTaskRequest { stdout: path, ..shim.create_request() };
    shim.client.call::<CreateTaskResponse>("Create", &request).unwrap();
    shim.start_process("");
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    assert_eq!(read_all(out), "1234:56\nagain\n");
    shim.shutdown();
}

#[test]
fn flags_reach_the_runtime() {
    let mut world = World::new();
    let mut shim = world.shim("o2", &["/bin/true"], |_| ());
    let calls = world.path("calls");
    shim.options.binary_name = runtime(&world.path("runtime"), &format!("echo \"$@\" >> {}", calls.display()));
    shim.options.root = world.path("other-root").to_string_lossy().into_owned();
    (shim.options.no_pivot_root, shim.options.no_new_keyring) = (true, true);
    shim.create();
    shim.start_process("");
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    shim.shutdown();
    let calls = fs::read_to_string(calls).unwrap();
    let calls: Vec<&str> = calls.lines().collect();
    let root = format!("--root {}/shimtest ", world.path("other-root").display());
    assert!(calls.iter().all(|call| call.starts_with(&root)), "{calls:?}");
    assert!(calls[0].contains(" create ") && calls[0].contains(" --no-pivot --no-new-keyring "), "{calls:?}");
    assert!(calls[1].ends_with(" start o2") && calls[2].ends_with(" delete o2"), "{calls:?}");
}

/// Only root's own hierarchies: what is mounted differs between hosts.
#[test]
fn the_shim_is_put_into_its_control_group() {
    let mut world = World::new();
    let name = format!("/shimtest-own-{}", std::process::id());
    let tops: Vec<_> = [Path::new("/sys/fs/cgroup"), Path::new("/sys/fs/cgroup/pids")]
        .into_iter()
        .filter(|top| top.join("cgroup.procs").exists())
        .map(|top| top.join(name.trim_start_matches('/')))
        .collect();
    tops.iter().for_each(|group| fs::create_dir(group).unwrap());
    world.shim_cgroup.clone_from(&name);
    let mut shim = world.shim("o3", &["/bin/true"], |_| ());
    let groups = fs::read_to_string(format!("/proc/{}/cgroup", shim.pid)).unwrap();
    assert!(groups.lines().any(|line| line.ends_with(&format!(":{name}"))), "{groups}");
    shim.create();
    shim.start_process("");
    assert_eq!(shim.wait(""), 0);
    shim.delete("");
    shim.shutdown();
    // Something that the shim has started may take a moment longer.
    eventually("the groups are empty", || tops.iter().all(|group| !group.exists() || fs::remove_dir(group).is_ok()));

    world.shim_cgroup = "/there/is/no/such/group".into();
    world.bundle("o4", &["/bin/true"], |_| ());
    let refused = world.try_start("o4");
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(!refused.status.success() && error.contains("/there/is/no/such/group"), "{error}");
}
