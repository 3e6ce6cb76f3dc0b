//! More processes in a running container.

use tests::ctr::Output;
use tests::{Bed, eventually, matrix};

matrix! { tasks: exec, exec_settings, exec_on_a_terminal, exec_detached, exec_refused }

/// Starts a container that lives until it is removed.
fn running(bed: &Bed) -> tests::Ctr {
    let image = bed.import();
    let ctr = bed.ctr();
    ctr.ok(&format!("run -d {image} box sleep 1000"));
    ctr
}

fn removed(ctr: &tests::Ctr) {
    ctr.ok("tasks rm -f box");
    ctr.ok("containers rm box");
}

fn exec(bed: &mut Bed) {
    let ctr = running(bed);
    let complete = |out: &Output| out.stdout == "out\n" && out.stderr.contains("err\n");
    let out = ctr.run_until("tasks exec --exec-id one box sh -c 'echo out; echo err >&2; exit 9'", complete);
    assert_eq!((out.code, out.stdout.as_str()), (9, "out\n"));
    assert!(out.stderr.contains("err\n"), "{out:?}");
    // The id is free again, and the process sees the container's own files and processes.
    ctr.answers("tasks exec --exec-id one box cat", b"fed\n", "fed\n");
    ctr.says("tasks exec --exec-id two box cat /etc/motd", "last\n");
    ctr.says("tasks exec --exec-id three box cat /proc/1/cmdline", "sleep\x001000\0");
    assert!(ctr.ok("tasks ls").contains("RUNNING"));
    removed(&ctr);
}

fn exec_settings(bed: &mut Bed) {
    let ctr = running(bed);
    ctr.says("tasks exec --exec-id e --cwd /etc --user 33 box sh -c 'pwd; id -u'", "/etc\n33\n");
    removed(&ctr);
}

fn exec_on_a_terminal(bed: &mut Bed) {
    let ctr = running(bed);
    let complete = |out: &Output| out.stdout.contains("/dev/pts/");
    let out = ctr.on_terminal_until("tasks exec -t --exec-id e box sh -c 'tty; exit 6'", complete);
    assert!(out.code == 6 && complete(&out), "{out:?}");
    removed(&ctr);
}

fn exec_detached(bed: &mut Bed) {
    let ctr = running(bed);
    ctr.ok("tasks exec -d --exec-id worker box sleep 2000");
    eventually("the process to be listed", || ctr.ok("tasks ps box").lines().count() == 3);
    assert!(ctr.ok("tasks ps box").contains("worker"));
    ctr.ok("tasks kill --exec-id worker -s SIGKILL box");
    eventually("the process to be gone", || ctr.ok("tasks ps box").lines().count() == 2);
    removed(&ctr);
}

fn exec_refused(bed: &mut Bed) {
    let ctr = running(bed);
    assert!(ctr.fails("tasks exec --exec-id e box /no/such/program").contains("/no/such/program"));
    assert!(ctr.fails("tasks exec --exec-id e nobody true").contains("nobody"));
    ctr.says("tasks exec --exec-id e box echo again", "again\n");
    removed(&ctr);
}
