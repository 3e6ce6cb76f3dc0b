//! Tasks through ctr: attached, detached, on a terminal; exit codes, signals, pause, what is listed meanwhile.

use proto::api::containerd::services::tasks::v1::GetRequest;
use tests::ctr::Output;
use tests::{Bed, eventually, matrix};

matrix! { tasks:
    attached, exit_codes, stdin_reaches_the_process, terminal, detached, killed_by_signals, paused_and_resumed,
    process_settings, created_then_started, removal_needs_a_stopped_task, log_to_a_file, rootfs_without_image,
}

fn attached(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let complete = |out: &Output| out.stdout == "out\n" && out.stderr.contains("err\n");
    let out = ctr.run_until(&format!("run --rm {image} hello sh -c 'echo out; echo err >&2'"), complete);
    assert_eq!((out.code, out.stdout.as_str()), (0, "out\n"));
    assert!(out.stderr.contains("err\n"), "{out:?}");
    assert!(ctr.names("containers ls").is_empty());
    assert!(ctr.names("snapshots ls").iter().all(|key| key != "hello"));
}

fn exit_codes(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    assert_eq!(ctr.run(&format!("run --rm {image} seven sh -c 'exit 7'")).code, 7);
    // A program that is not there: no task, and nothing left of the attempt.
    let refused = ctr.fails(&format!("run --rm {image} absent /no/such/program"));
    assert!(refused.contains("/no/such/program"), "{refused}");
    assert!(ctr.names("tasks ls").is_empty());
    assert!(ctr.names("containers ls").is_empty());
}

fn stdin_reaches_the_process(bed: &mut Bed) {
    let image = bed.import();
    let big = "0123456789abcde\n".repeat(20_000);
    bed.ctr().answers(&format!("run --rm {image} cat cat"), big.as_bytes(), &big);
    bed.ctr().answers(&format!("run --rm {image} count wc -c"), big.as_bytes(), "320000\n");
}

fn terminal(bed: &mut Bed) {
    let image = bed.import();
    let complete = |out: &Output| out.stdout.contains("/dev/pts/0\r") && out.stdout.contains("\nxterm\r");
    let line = format!("run --rm -t {image} term sh -c 'tty; echo $TERM; exit 5'");
    let out = bed.ctr().on_terminal_until(&line, complete);
    assert!(out.code == 5 && complete(&out), "{out:?}");
}

fn detached(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("run -d {image} long sleep 1000"));
    let table = ctr.ok("tasks ls");
    let row: Vec<&str> = table.lines().nth(1).expect("one task").split_whitespace().collect();
    assert_eq!((row[0], row[2]), ("long", "RUNNING"), "{table}");
    // Started means that runc's own init is about to become the program.
    let command = || std::fs::read_to_string(format!("/proc/{}/cmdline", row[1])).expect("the task's process");
    eventually("the program to run", || command() == "sleep\x001000\0");

    assert!(ctr.ok("tasks ps long").contains(row[1]));
    let metrics = ctr.ok("tasks metrics long");
    assert!(metrics.contains("long") && metrics.contains("pids"), "{metrics}");
    assert!(ctr.ok("containers info long").contains("\"ID\": \"long\""));

    ctr.ok("tasks kill -s SIGKILL long");
    eventually("the task to stop", || ctr.ok("tasks ls").contains("STOPPED"));
    assert_eq!(exit_status(bed, "long"), 137);
    ctr.ok("tasks rm long");
    ctr.ok("containers rm long");
    assert!(ctr.names("snapshots ls").iter().all(|key| key != "long"));
}

fn killed_by_signals(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let script = "trap 'exit 3' USR1; echo ready > /tmp/ready; while true; do sleep 0.1; done";
    ctr.ok(&format!("run -d {image} traps sh -c \"{script}\""));
    eventually("the trap to be set", || ctr.run("tasks exec --exec-id look traps cat /tmp/ready").code == 0);
    ctr.ok("tasks kill -s SIGUSR1 traps");
    eventually("the task to stop", || ctr.ok("tasks ls").contains("STOPPED"));
    let again = ctr.fails("tasks kill traps");
    assert!(again.contains("process already finished") || again.contains("not found"), "{again}");
    assert_eq!(exit_status(bed, "traps"), 3);
    ctr.ok("tasks rm traps");
    ctr.ok("containers rm traps");
    assert!(ctr.fails("tasks kill traps").contains("traps"));
}

fn paused_and_resumed(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("run -d {image} pausing sleep 1000"));
    ctr.ok("tasks pause pausing");
    assert!(ctr.ok("tasks ls").contains("PAUSED"));
    ctr.ok("tasks resume pausing");
    assert!(ctr.ok("tasks ls").contains("RUNNING"));
    ctr.ok("tasks rm -f pausing");
    ctr.ok("containers rm pausing");
}

fn process_settings(bed: &mut Bed) {
    let image = bed.import();
    let flags = "--env OWN=set --cwd /tmp --user 33 --hostname there --label team=blue --read-only";
    let script = "id -u; pwd; echo $FROM $OWN; cat /proc/sys/kernel/hostname; touch /no 2>/dev/null || echo kept";
    let line = format!("run --rm {flags} {image} set sh -c '{script}'");
    bed.ctr().says(&line, "33\n/tmp\nimage set\nthere\nkept\n");
}

fn created_then_started(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("containers create {image} later sh -c 'exit 4'"));
    assert_eq!(ctr.names("containers ls"), ["later"]);
    assert!(ctr.names("tasks ls").is_empty());
    assert_eq!(ctr.run("tasks start later").code, 4);
    assert!(ctr.names("tasks ls").is_empty(), "ctr deletes a task it waited for");
    ctr.ok("containers rm later");
    assert!(ctr.fails("tasks start later").contains("later"));
}

fn removal_needs_a_stopped_task(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("run -d {image} busy sleep 1000"));
    assert!(ctr.fails("containers rm busy").contains("busy"));
    ctr.fails("tasks rm busy");
    assert!(ctr.ok("tasks ls").contains("RUNNING"));
    let twice = ctr.fails(&format!("run -d {image} busy sleep 1000"));
    assert!(twice.contains("already exists"), "{twice}");
    ctr.ok("tasks rm -f busy");
    ctr.ok("containers rm busy");
}

fn log_to_a_file(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    let log = bed.daemon.dir().join("container.log");
    ctr.ok(&format!(
        "run -d --log-uri file://{} {image} logs sh -c 'echo one; echo two >&2; sleep 1000'",
        log.display()
    ));
    let written = || std::fs::read_to_string(&log).unwrap_or_default();
    eventually("both lines in the log", || written().contains("one\n") && written().contains("two\n"));
    ctr.ok("tasks rm -f logs");
    ctr.ok("containers rm logs");
}

fn rootfs_without_image(bed: &mut Bed) {
    let rootfs = bed.daemon.dir().join("rootfs");
    for dir in ["bin", "proc", "sys", "dev"] {
        std::fs::create_dir_all(rootfs.join(dir)).unwrap();
    }
    tests::install("/bin/busybox".as_ref(), &rootfs.join("bin/sh"));
    // youki wants a PATH.
    let line = format!("run --rm --env PATH=/bin --rootfs {} bare sh -c 'echo from a directory'", rootfs.display());
    bed.ctr().says(&line, "from a directory\n");
}

/// The exit status that the daemon reports for a stopped task.
fn exit_status(bed: &Bed, id: &str) -> u32 {
    let api = bed.api();
    let request = GetRequest { container_id: id.to_owned(), exec_id: String::new() };
    api.call(api.tasks().get(request)).expect("get the task").into_inner().process.expect("a process").exit_status
}
