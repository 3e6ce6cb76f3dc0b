//! Containers that behave badly: each ends as asked for, loses nothing, and leaves nothing behind.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use proto::api::containerd::services::containers::v1::CreateContainerRequest;
use proto::api::containerd::services::tasks::v1::{DeleteTaskRequest, KillRequest, StartRequest, WaitRequest};
use serde_json::json;
use tests::{Bed, Ctr, bare, eventually, matrix, memory, rows};

matrix! { shims: orphans, zombies, fork_bomb, deaf_to_sigterm }
// By our ctr: Go's now and then loses the end of the output.
rows! { stopped_reader: ours(Ours Ours Ours) our_daemon_go_shim(Ours Go Ours) go_daemon_our_shim(Go Ours Ours) }
rows! { much_output_and_gone: ours(Ours Ours Ours) our_daemon_go_shim(Ours Go Ours) go_daemon_our_shim(Go Ours Ours) }

/// Process id and status of a task, as `tasks ls` has it.
fn task(ctr: &Ctr, id: &str) -> (u32, String) {
    let table = ctr.ok("tasks ls");
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row[0] == id);
    let row = row.unwrap_or_else(|| panic!("no task {id}: {table}"));
    (row[1].parse().unwrap(), row[2].to_owned())
}

fn killed_and_removed(ctr: &Ctr, id: &str) {
    ctr.ok(&format!("tasks kill -s SIGKILL {id}"));
    eventually("the task to stop", || task(ctr, id).1 == "STOPPED");
    ctr.ok(&format!("tasks rm {id}"));
    ctr.ok(&format!("containers rm {id}"));
}

/// The processes on this machine whose parent is `parent`, each with its state.
fn children(parent: u32) -> Vec<char> {
    let wanted = parent.to_string();
    let state = |path: PathBuf| {
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let mut fields = stat.rsplit_once(") ")?.1.split(' ');
        let state = fields.next()?.chars().next()?;
        (fields.next()? == wanted).then_some(state)
    };
    tests::leaks::entries(Path::new("/proc")).into_iter().filter_map(state).collect()
}

fn orphans(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    // Those of the first process end with it.
    assert_eq!(ctr.run(&format!("run --rm {image} parent sh -c 'sleep 3000 & sleep 3000 & exit 3'")).code, 3);
    // Those of an exec outlive it, and belong to the container.
    ctr.ok(&format!("run -d {image} box sleep 1000"));
    ctr.ok("tasks exec --exec-id leaves box sh -c 'sleep 2000 >/dev/null 2>&1 </dev/null & exit 0'");
    let (pid, _) = task(&ctr, "box");
    eventually("the orphan to have a new parent", || children(pid).len() == 1);
    assert!(ctr.ok("tasks ps box").lines().count() >= 3);
    killed_and_removed(&ctr, "box");
}

/// A first process that never waits, and hundreds of orphans that end.
fn zombies(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("run -d {image} box sleep 1000"));
    let (pid, _) = task(&ctr, "box");
    ctr.ok("tasks exec --exec-id storm box sh -c 'i=0; while [ $i -lt 300 ]; do (true &); i=$((i+1)); done'");
    eventually("zombies", || children(pid).iter().filter(|state| **state == 'Z').count() == 300);
    ctr.says("tasks exec --exec-id after box echo fine", "fine\n");
    assert!(ctr.ok("tasks metrics box").contains("pids"));
    killed_and_removed(&ctr, "box");
}

/// Where the kernel counts the processes of a container: under v1, or v2.
fn pids_group(bed: &Bed, id: &str) -> PathBuf {
    let below = Path::new(bed.daemon.namespace()).join(id);
    let v1 = Path::new("/sys/fs/cgroup/pids").join(&below);
    if v1.exists() { v1 } else { Path::new("/sys/fs/cgroup").join(below) }
}

fn fork_bomb(bed: &mut Bed) {
    let image = bed.import();
    let api = bed.api();
    let rootfs = bare::rootfs(bed.daemon.dir(), &["sh", "sleep"]);
    let bomb = "b() { while :; do b & done; }; b & exec /bin/sleep 1000";
    let mut container = bare::container("bomb", bed.daemon.namespace(), &["/bin/sh", "-c", bomb]);
    let any = container.spec.as_mut().unwrap();
    let mut spec: serde_json::Value = serde_json::from_slice(&any.value).unwrap();
    spec["linux"]["resources"] = json!({ "pids": { "limit": 24 } });
    any.value = spec.to_string().into_bytes();
    api.call(api.containers().create(CreateContainerRequest { container: Some(container) })).unwrap();
    api.call(api.tasks().create(bare::create("bomb", &rootfs))).unwrap();
    let id = || "bomb".to_owned();
    api.call(api.tasks().start(StartRequest { container_id: id(), exec_id: String::new() })).unwrap();
    let events = pids_group(bed, "bomb").join("pids.events");
    let refused = || {
        let text = fs::read_to_string(&events).unwrap_or_default();
        text.split_whitespace().last().and_then(|count| count.parse().ok()).unwrap_or(0)
    };
    eventually("forks to be refused", || refused() >= 1);
    // Others run meanwhile.
    let ctr = bed.ctr();
    ctr.says(&format!("run --rm {image} neighbour echo fine"), "fine\n");
    let kill = KillRequest { container_id: id(), signal: 9, all: true, ..KillRequest::default() };
    api.call(api.tasks().kill(kill)).unwrap();
    let exit = api.call(api.tasks().wait(WaitRequest { container_id: id(), exec_id: String::new() })).unwrap();
    assert_eq!(exit.into_inner().exit_status, 137);
    api.call(api.tasks().delete(DeleteTaskRequest { container_id: id() })).unwrap();
    ctr.ok("containers rm bomb");
}

fn deaf_to_sigterm(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let script = "trap '' TERM; echo ready > /tmp/ready; while true; do sleep 0.1; done";
    ctr.ok(&format!("run -d {image} deaf sh -c \"{script}\""));
    eventually("the trap to be set", || ctr.run("tasks exec --exec-id look deaf cat /tmp/ready").code == 0);
    ctr.ok("tasks kill -s SIGTERM deaf");
    ctr.says("tasks exec --exec-id after deaf echo there", "there\n");
    assert_eq!(task(&ctr, "deaf").1, "RUNNING");
    killed_and_removed(&ctr, "deaf");
}

/// Nobody reads what the container writes: it waits, buffers stay small, and later all of it is there.
fn stopped_reader(bed: &mut Bed) {
    const OUTPUT: usize = 48 << 20;
    let image = bed.import();
    let ctr = bed.ctr();
    let script = format!("head -c {OUTPUT} /dev/zero");
    let mut command = ctr.command(&format!("run --rm {image} writer {script}"));
    let mut client = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    eventually("the task to run", || ctr.ok("tasks ls").contains("RUNNING"));
    let (pid, _) = task(&ctr, "writer");
    // It sleeps in a write to a full pipe: from then on nothing moves.
    let written = || {
        let io = fs::read_to_string(format!("/proc/{pid}/io")).unwrap_or_default();
        io.lines().find_map(|line| line.strip_prefix("wchar: ")).and_then(|count| count.parse::<usize>().ok())
    };
    let mut last = None;
    eventually("the pipes to be full", || {
        std::thread::sleep(std::time::Duration::from_millis(200));
        let now = written();
        std::mem::replace(&mut last, now) == now && now > Some(0)
    });
    assert!(last < Some(OUTPUT), "{last:?}");
    ctr.says("tasks exec --exec-id look writer echo fine", "fine\n");
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let shim = status.lines().find_map(|line| line.strip_prefix("PPid:")).unwrap().trim().parse().unwrap();
    assert!(memory::rss(shim) < OUTPUT as u64, "the shim holds what nobody reads");
    let mut output = Vec::new();
    client.stdout.take().unwrap().read_to_end(&mut output).unwrap();
    assert_eq!(output.len(), OUTPUT);
    assert!(client.wait().unwrap().success());
}

fn much_output_and_gone(bed: &mut Bed) {
    let image = bed.import();
    for round in 0..5 {
        let script = "i=0; while [ $i -lt 100 ]; do i=$((i+1)); head -c 10000 /dev/zero | tr '\\0' x; done; echo end";
        let output = bed.ctr().ok(&format!("run --rm {image} fast{round} sh -c \"{script}\""));
        assert_eq!(output.len(), 1_000_004);
        assert!(output.ends_with("xend\n"));
    }
}
