//! Events: which, and in which order, as a subscriber of its own sees them.

use std::process::Stdio;

use tests::{Bed, Impl, eventually, matrix};

matrix! { tasks: life_of_a_container }

/// Topics that `ctr events` prints while `act` runs, until `done` with what was printed.
fn topics(bed: &Bed, done: impl Fn(&str) -> bool, act: impl FnOnce()) -> Vec<String> {
    let ctr = bed.ctr();
    let path = bed.daemon.dir().join("events");
    let mut command = ctr.command("events");
    let mut child = command.stdout(Stdio::from(std::fs::File::create(&path).unwrap())).spawn().unwrap();
    let read = || std::fs::read_to_string(&path).unwrap_or_default();
    // A subscriber cannot tell when it is registered, with Go's daemon: poke until something arrives.
    let mut poke = 0;
    eventually("the subscription", || {
        poke += 1;
        ctr.ok(&format!("namespaces label {} poke={poke}", bed.daemon.namespace()));
        std::thread::sleep(std::time::Duration::from_millis(50));
        read().contains("/namespaces/update")
    });
    act();
    eventually("the last events", || done(&read()));
    // timeout(1) passes the signal on.
    let _ = rustix::process::kill_process(rustix::process::Pid::from_child(&child), rustix::process::Signal::TERM);
    child.wait().unwrap();
    let topic = |line: &str| line.split_whitespace().find(|word| word.starts_with('/')).map(str::to_owned);
    let mut seen: Vec<_> = read().lines().filter_map(topic).filter(|topic| topic != "/namespaces/update").collect();
    // A shim that is late has its deletion published for it, and may still publish it then.
    let late = bed.daemon.log().contains("without having published its task's deletion");
    if late || bed.row.daemon == Impl::Go && bed.row.shim == Impl::Go {
        // The deletion may overtake the exit: the shim wakes who waits for it first, and the daemon lets it pass.
        seen.sort_by_key(|topic| topic == "/tasks/delete");
    }
    if late {
        seen.dedup_by(|one, other| one == other && *one == "/tasks/delete");
    }
    seen
}

fn life_of_a_container(bed: &mut Bed) {
    let image = bed.import();
    let ctr = bed.ctr();
    // Go's shim may be gone before its last event is out.
    let last = if bed.row.shim == Impl::Ours { "/tasks/delete" } else { "/tasks/exit" };
    let done = |printed: &str| printed.contains(last) && printed.contains("/containers/delete");
    let seen = topics(bed, done, || {
        ctr.ok(&format!("run --rm {image} watched true"));
    });
    let place = |topic: &str| {
        let mut places = seen.iter().enumerate().filter(|(_, t)| *t == topic).map(|(place, _)| place);
        let first = places.next();
        assert!(places.next().is_none(), "{topic} once: {seen:?}");
        assert!(first.is_some() || topic == "/tasks/delete" && bed.row.shim == Impl::Go, "no {topic} in {seen:?}");
        first.unwrap_or(seen.len())
    };
    // A shim's events arrive on a way of their own: their order among themselves is what clients rely on.
    let tasks = ["/tasks/create", "/tasks/start", "/tasks/exit", "/tasks/delete"].map(place);
    let records = ["/snapshot/prepare", "/containers/create", "/snapshot/remove", "/containers/delete"].map(place);
    assert!(tasks.is_sorted() && records.is_sorted() && records[1] < tasks[0], "{seen:?}");

    ctr.ok(&format!("run -d {image} box sleep 1000"));
    let done = |printed: &str| printed.contains(last) && printed.matches("/tasks/exit").count() == 2;
    let seen = topics(bed, done, || {
        ctr.ok("tasks exec --exec-id e box true");
        ctr.ok("tasks pause box");
        ctr.ok("tasks resume box");
        ctr.ok("tasks rm -f box");
    });
    let tasks: Vec<&str> = seen.iter().filter_map(|topic| topic.strip_prefix("/tasks/")).collect();
    let expected = ["exec-added", "exec-started", "exit", "paused", "resumed", "exit", "delete"];
    assert!(tasks == expected || bed.row.shim == Impl::Go && tasks == expected[..6], "{tasks:?}");
    ctr.ok("containers rm box");
}
