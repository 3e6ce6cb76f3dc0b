//! The restart monitor: containers that labels keep running. Go's polls, ours hears of the exit; both end alike.

use std::fs;
use std::thread::sleep;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use tests::{Bed, eventually, matrix};

matrix! { shims: kept_running_and_stopped_by_labels, given_up_after_its_retries, back_after_the_daemon_was_killed }

const STATUS: &str = "containerd.io/restart.status";
const POLICY: &str = "containerd.io/restart.policy";
const LOG_URI: &str = "containerd.io/restart.loguri";

/// Process id and status of a task, as `tasks ls` has it.
fn task(bed: &Bed, id: &str) -> Option<(u32, String)> {
    let table = bed.ctr().ok("tasks ls");
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row[0] == id)?;
    Some((row[1].parse().unwrap_or(0), row[2].to_owned()))
}

/// From here on: while a client is still between its calls for a task, a monitor that looks often takes it for one to
/// be started.
fn keep_running(bed: &Bed, id: &str) {
    bed.ctr().ok(&format!("containers label {id} {STATUS}=running"));
}

/// Waits until `id` runs as another process than `old`, and answers which.
fn restarted(bed: &Bed, id: &str, old: u32) -> u32 {
    let mut new = old;
    eventually("the container to run again", || {
        task(bed, id).is_some_and(|(pid, status)| {
            new = pid;
            status == "RUNNING" && pid != old
        })
    });
    new
}

/// Waits until the task is deleted and, which is a moment later, its bundle.
fn gone(bed: &Bed, id: &str) {
    let bundle = bed.daemon.state().join("io.containerd.runtime.v2.task").join(bed.daemon.namespace()).join(id);
    eventually("the task to be gone", || task(bed, id).is_none() && !bundle.exists());
}

fn count(bed: &Bed, id: &str) -> u32 {
    let info: serde_json::Value = serde_json::from_str(&bed.ctr().ok(&format!("containers info {id}"))).unwrap();
    info["Labels"]["containerd.io/restart.count"].as_str().map_or(0, |count| count.parse().unwrap())
}

fn kept_running_and_stopped_by_labels(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let log = bed.daemon.dir().join("box.log");
    ctr.ok(&format!(
        "run -d --label {LOG_URI}=file://{} {image} box sh -c 'echo said; exec sleep 1000'",
        log.display()
    ));
    keep_running(bed, "box");
    let (first, _) = task(bed, "box").unwrap();
    ctr.ok("tasks kill -s SIGKILL box");
    let second = restarted(bed, "box", first);
    assert_eq!(count(bed, "box"), 1);
    // Same image, same snapshot, and its output in the log.
    ctr.says("tasks exec --exec-id e box cat /etc/motd", "last\n");
    eventually("the log", || fs::read_to_string(&log).is_ok_and(|text| text == "said\n"));
    kill_process(Pid::from_raw(i32::try_from(second).unwrap()).unwrap(), Signal::KILL).unwrap();
    restarted(bed, "box", second);
    assert_eq!(count(bed, "box"), 2);
    ctr.ok(&format!("containers label box {STATUS}=stopped"));
    gone(bed, "box");
    ctr.ok("containers rm box");
}

fn given_up_after_its_retries(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let log = bed.daemon.dir().join("box.log");
    let labels = format!("--label {POLICY}=on-failure:2 --label {LOG_URI}=file://{}", log.display());
    ctr.ok(&format!("run -d {labels} {image} box sh -c 'echo ran; exit 3'"));
    keep_running(bed, "box");
    let stopped = || task(bed, "box").is_some_and(|(_, status)| status == "STOPPED");
    // What the monitor has started: the label is counted before that.
    let restarts = || fs::read_to_string(&log).unwrap_or_default().lines().count();
    eventually("two restarts", || restarts() == 2 && stopped());
    // Past the next look that either monitor takes.
    sleep(Duration::from_millis(2500));
    assert_eq!((restarts(), count(bed, "box")), (2, 2));
    eventually("it stays ended", stopped);
    ctr.ok("tasks rm box");
    ctr.ok("containers rm box");
}

fn back_after_the_daemon_was_killed(bed: &mut Bed) {
    let image = bed.import();
    bed.ctr().ok(&format!("run -d --label {POLICY}=unless-stopped {image} box sleep 1000"));
    keep_running(bed, "box");
    let (pid, _) = task(bed, "box").unwrap();
    bed.daemon.kill();
    kill_process(Pid::from_raw(i32::try_from(pid).unwrap()).unwrap(), Signal::KILL).unwrap();
    bed.daemon.restart();
    restarted(bed, "box", pid);
    assert_eq!(count(bed, "box"), 1);
    bed.ctr().ok(&format!("containers label box {STATUS}=stopped"));
    gone(bed, "box");
    bed.ctr().ok("containers rm box");
}
