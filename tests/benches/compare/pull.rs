//! Pulls with unpacking, and pushes, from and to one docker-registry on loopback: time on the wall, processor time of
//! the daemon and its client, and the daemon's memory at its highest.

use crate::{table::Table, unpack::Ticks};
use std::{
    fs,
    process::{Command, Stdio},
    time::Instant,
};
use tests::{Daemon, Impl, Registry};

const ROUNDS: usize = 3;

/// Images of the registry, and how much of Go's time on the wall and processor time we may take.
const IMAGES: [(&str, f64, Option<f64>); 3] = [("ten", 0.4, Some(0.4)), ("forty", 0.35, None), ("one", 0.6, None)];

pub(crate) fn run(table: &mut Table) {
    let folder = tests::programs::target_dir().join("bench-registry");
    assert!(folder.join("registry/done").exists(), "`make bench` makes {}", folder.display());
    let registry = Registry::over(&folder);
    for (image, wall, cpu) in IMAGES {
        let reference = registry.name(&format!("bench:{image}"));
        for _ in 0..ROUNDS {
            for side in crate::SIDES {
                let daemon = crate::daemon(side);
                let rest = status(daemon.pid(), "VmRSS");
                let took = pull(&daemon, side, &reference, &[]);
                table.add(side, &format!("pull + unpack {image}, wall"), "s", Some(wall), took.0);
                table.add(side, &format!("pull + unpack {image}, user+sys of daemon and ctr"), "s", cpu, took.1);
                let above = status(daemon.pid(), "VmHWM") - rest;
                table.add(side, &format!("pull + unpack {image}, peak above rest"), "MB", None, above);
                if image == "ten" {
                    push(table, &daemon, side, &reference);
                }
            }
            for side in crate::SIDES {
                let daemon = crate::daemon(side);
                let local: &[&str] = if side == Impl::Go { &["--local"] } else { &[] };
                let took = pull(&daemon, side, &reference, local);
                table.add(side, &format!("the same, Go's with --local, {image}, wall"), "s", Some(wall), took.0);
                table.add(side, &format!("the same, Go's with --local, {image}, user+sys"), "s", cpu, took.1);
            }
        }
    }
}

/// Pulls from a registry and with a store that have nothing in the page cache to write.
fn pull(daemon: &Daemon, side: Impl, reference: &str, more: &[&str]) -> (f64, f64) {
    rustix::fs::sync();
    ctr(daemon, side, &[&["pull", "--plain-http"], more, &[reference]].concat())
}

fn push(table: &mut Table, daemon: &Daemon, side: Impl, reference: &str) {
    // Into a registry that has none of it.
    let empty = Registry::open();
    let there = empty.name("pushed:1");
    let (wall, cpu) = ctr(daemon, side, &["push", "--plain-http", &there, reference]);
    table.add(side, "push ten, wall", "s", Some(0.6), wall);
    table.add(side, "push ten, user+sys of daemon and ctr", "s", None, cpu);
}

/// Wall and processor seconds of one command.
fn ctr(daemon: &Daemon, side: Impl, args: &[&str]) -> (f64, f64) {
    let mut command = Command::new(side.ctr());
    command.arg("-a").arg(daemon.socket()).args(["-n", daemon.namespace(), "images"]).args(args);
    command.stdout(Stdio::null()).stderr(Stdio::inherit());
    let (before, start) = (Ticks::now(daemon.pid()), Instant::now());
    assert!(command.status().expect("start ctr").success(), "{args:?}");
    let wall = start.elapsed().as_secs_f64();
    (wall, Ticks::now(daemon.pid()).since(&before))
}

/// A field of `/proc/<pid>/status` in MB.
fn status(pid: u32, field: &str) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).expect("read status");
    let line = status.lines().find(|line| line.starts_with(field)).expect("the field");
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<f64>().ok()).expect("a number") * 1024.0 / 1e6
}
