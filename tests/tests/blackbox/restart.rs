//! Containers outlive their daemon: an orderly restart, a killed daemon, a killed shim, a reboot.

use std::fs;

use rustix::process::{Pid, Signal, kill_process};
use tests::{Bed, Impl, eventually, matrix};

matrix! { shims: orderly_restart, killed_daemon, exit_while_the_daemon_is_down, killed_shim, reboot, several_containers, output_goes_on }

/// Starts a container and answers its first process.
fn started(bed: &Bed, id: &str, script: &str) -> u32 {
    let image = tests::bed::BUSYBOX;
    bed.ctr().ok(&format!("run -d {image} {id} sh -c \"{script}\""));
    task(bed, id).expect("a running task").0
}

/// Process id and status of a task, as `tasks ls` has it.
fn task(bed: &Bed, id: &str) -> Option<(u32, String)> {
    let table = bed.ctr().ok("tasks ls");
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row[0] == id)?;
    Some((row[1].parse().unwrap_or(0), row[2].to_owned()))
}

fn still_works(bed: &Bed, id: &str, pid: u32) {
    assert_eq!(task(bed, id), Some((pid, "RUNNING".to_owned())));
    let ctr = bed.ctr();
    ctr.says(&format!("tasks exec --exec-id again {id} echo alive"), "alive\n");
    assert!(ctr.ok(&format!("tasks metrics {id}")).contains("pids"));
    ctr.ok(&format!("tasks kill -s SIGKILL {id}"));
    eventually("the exit to be seen", || task(bed, id).is_some_and(|(_, status)| status == "STOPPED"));
    ctr.ok(&format!("tasks rm {id}"));
    ctr.ok(&format!("containers rm {id}"));
}

fn orderly_restart(bed: &mut Bed) {
    bed.import();
    let pid = started(bed, "box", "sleep 1000");
    bed.daemon.restart();
    still_works(bed, "box", pid);
}

fn killed_daemon(bed: &mut Bed) {
    bed.import();
    let pid = started(bed, "box", "sleep 1000");
    bed.daemon.kill();
    bed.daemon.restart();
    still_works(bed, "box", pid);
}

fn exit_while_the_daemon_is_down(bed: &mut Bed) {
    bed.import();
    let go = bed.daemon.dir().join("go");
    fs::create_dir(&go).unwrap();
    let mount = format!("--mount type=bind,src={},dst=/tmp,options=rbind:rw", go.display());
    let script = "while [ ! -e /tmp/now ]; do sleep 0.05; done; exit 5";
    bed.ctr().ok(&format!("run -d {mount} {} box sh -c '{script}'", tests::bed::BUSYBOX));
    let (pid, _) = task(bed, "box").unwrap();
    bed.daemon.kill();
    fs::write(go.join("now"), "").unwrap();
    let ended = || fs::read_to_string(format!("/proc/{pid}/stat")).map_or(true, |stat| stat.contains(") Z "));
    eventually("the process to end", ended);
    bed.daemon.restart();
    if bed.row.daemon == Impl::Go {
        // Go's daemon takes the shim of an ended container for a leak and deletes it, exit code and all.
        eventually("the task to be gone", || task(bed, "box").is_none());
        bed.ctr().ok("containers rm box");
        return;
    }
    eventually("the exit to be seen", || task(bed, "box").is_some_and(|(_, status)| status == "STOPPED"));
    let api = bed.api();
    let request = proto::api::containerd::services::tasks::v1::DeleteTaskRequest { container_id: "box".to_owned() };
    let deleted = api.call(api.tasks().delete(request)).unwrap().into_inner();
    assert_eq!((deleted.exit_status, deleted.exited_at.is_some()), (5, true));
    bed.ctr().ok("containers rm box");
}

fn killed_shim(bed: &mut Bed) {
    bed.import();
    let pid = started(bed, "box", "sleep 1000");
    kill(parent(pid));
    eventually("the task to be gone", || task(bed, "box").is_none_or(|(_, status)| status == "STOPPED"));
    eventually("its process to be gone", || !fs::exists(format!("/proc/{pid}")).unwrap());
    let ctr = bed.ctr();
    drop(ctr.run("tasks rm box"));
    // The record is as it was: the container can run again.
    started(bed, "other", "sleep 1000");
    ctr.ok("tasks rm -f other");
    ctr.ok("containers rm box other");
}

fn reboot(bed: &mut Bed) {
    let image = bed.import();
    let pid = started(bed, "box", "sleep 1000");
    bed.daemon.kill();
    // What a reboot ends and forgets, by hand.
    kill(parent(pid));
    kill(pid);
    eventually("the container to be gone", || !fs::exists(format!("/proc/{pid}")).unwrap());
    for mount in tests::leaks::mounts_under(bed.daemon.dir()).iter().rev() {
        rustix::mount::unmount(mount, rustix::mount::UnmountFlags::DETACH).unwrap();
    }
    fs::remove_dir_all(bed.daemon.state()).unwrap();
    bed.daemon.traces().remove();
    bed.daemon.restart();
    let ctr = bed.ctr();
    assert_eq!(ctr.names("images ls"), [image]);
    assert_eq!(ctr.names("containers ls"), ["box"]);
    assert!(ctr.names("tasks ls").is_empty());
    ctr.ok("tasks start -d box");
    assert_eq!(task(bed, "box").unwrap().1, "RUNNING");
    ctr.ok("tasks rm -f box");
    ctr.ok("containers rm box");
}

fn several_containers(bed: &mut Bed) {
    bed.import();
    let ids = ["a", "b", "c", "d", "e"];
    let pids = ids.map(|id| started(bed, id, "sleep 1000"));
    bed.daemon.kill();
    kill(pids[1]);
    bed.daemon.restart();
    eventually("the one that ended to be seen", || task(bed, "b").is_none_or(|(_, status)| status == "STOPPED"));
    for (id, pid) in ids.iter().zip(pids).filter(|(id, _)| **id != "b") {
        assert_eq!(task(bed, id), Some((pid, "RUNNING".to_owned())));
    }
    for id in ids {
        if task(bed, id).is_some() {
            bed.ctr().ok(&format!("tasks rm -f {id}"));
        }
        bed.ctr().ok(&format!("containers rm {id}"));
    }
}

/// What systemd does under `KillMode=process`: only the daemon is told to end, or killed, and nothing else.
fn output_goes_on(bed: &mut Bed) {
    let image = bed.import();
    let log = bed.daemon.dir().join("output");
    let script = "i=0; while true; do i=$((i+1)); echo $i; sleep 0.02; done";
    bed.ctr().ok(&format!("run -d --log-uri file://{} {image} box sh -c '{script}'", log.display()));
    let (pid, _) = task(bed, "box").unwrap();
    let count = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    let goes_on = |when: &str| {
        let before = count();
        eventually(when, || count() > before + 10);
    };
    goes_on("output before");
    assert!(bed.daemon.stop().is_some_and(|status| status.success()));
    goes_on("output while no daemon runs");
    bed.daemon.restart();
    goes_on("output after a stop");
    bed.daemon.kill();
    goes_on("output after the daemon was killed");
    bed.daemon.restart();
    assert_eq!(task(bed, "box"), Some((pid, "RUNNING".to_owned())));
    goes_on("output in the end");
    let ctr = bed.ctr();
    ctr.ok("tasks rm -f box");
    ctr.ok("containers rm box");
    let text = fs::read_to_string(&log).unwrap();
    let numbers: Vec<usize> = text.lines().map(|line| line.parse().unwrap()).collect();
    assert!(numbers.iter().copied().eq(1..=numbers.len()), "every line is there, once and in order: {text}");
}

/// The parent of a process: a container's shim.
fn parent(pid: u32) -> u32 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    status.lines().find_map(|line| line.strip_prefix("PPid:")).and_then(|ppid| ppid.trim().parse().ok()).unwrap()
}

fn kill(pid: u32) {
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
}
