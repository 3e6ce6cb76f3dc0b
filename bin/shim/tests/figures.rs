//! Measurements, printed: `SHIM=… cargo test -p shim --test figures -- --ignored --nocapture --test-threads=1`.
//!
//! `SHIM` is the shim as it is shipped (`make shim`); without it the one of this build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures are for reading")]

mod support;

use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::World;

const ROUNDS: usize = 60;

/// Runs `work` and adds its time to `times`.
fn timed<T>(times: &mut Vec<Duration>, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = work();
    times.push(start.elapsed());
    result
}

fn median(times: &mut [Duration]) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64() * 1000.0
}

#[test]
#[ignore = "a measurement"]
fn time_of_each_step() {
    let mut world = World::new();
    let steps = ["start action", "create", "start", "wait", "delete", "shutdown"];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); steps.len()];
    for round in 0..ROUNDS {
        let id = format!("f{round}");
        let mut shim = timed(&mut times[0], || world.shim(&id, &["/bin/true"], |_| ()));
        timed(&mut times[1], || shim.create());
        timed(&mut times[2], || shim.start_process(""));
        assert_eq!(timed(&mut times[3], || shim.wait("")), 0);
        timed(&mut times[4], || shim.delete(""));
        timed(&mut times[5], || shim.shutdown());
    }
    let mut total = 0.0;
    for (step, times) in steps.iter().zip(&mut times) {
        let milliseconds = median(times);
        total += milliseconds;
        println!("{step:>14} {milliseconds:7.2} ms");
    }
    println!("{:>14} {total:7.2} ms", "all");
}

/// The same calls of runc, made by hand: what is not ours.
#[test]
#[ignore = "a measurement"]
fn time_of_bare_runc() {
    let world = World::new();
    let steps = ["create", "start", "delete", "run"];
    let mut times: Vec<Vec<Duration>> = vec![Vec::new(); steps.len()];
    for round in 0..ROUNDS {
        let id = format!("r{round}");
        let bundle = world.bundle(&id, &["/bin/true"], |spec| {
            spec["root"]["path"] = world.path("rootfs").to_string_lossy().into_owned().into();
        });
        let runc = |arguments: &[&str]| {
            let mut command = Command::new("runc");
            command.arg("--root").arg(world.path("runc")).args(arguments).current_dir(&bundle);
            let null = || Stdio::null();
            assert!(command.stdin(null()).stdout(null()).stderr(null()).status().unwrap().success());
        };
        timed(&mut times[0], || runc(&["create", "--pid-file", "pid", &id]));
        timed(&mut times[1], || runc(&["start", &id]));
        std::thread::sleep(Duration::from_millis(20));
        timed(&mut times[2], || runc(&["delete", &id]));
        timed(&mut times[3], || runc(&["run", &id]));
    }
    for (step, times) in steps.iter().zip(&mut times) {
        println!("{:>14} {:7.2} ms", format!("runc {step}"), median(times));
    }
}

#[test]
#[ignore = "a measurement"]
fn time_of_an_exec() {
    let mut world = World::new();
    let mut shim = world.shim("x", &["/bin/sleep", "1000"], |_| ());
    shim.create();
    shim.start_process("");
    let mut times = Vec::new();
    for round in 0..ROUNDS {
        let exec = format!("e{round}");
        timed(&mut times, || {
            shim.exec(&exec, &["/bin/true"]);
            shim.wait(&exec);
            shim.delete(&exec);
        });
    }
    println!("{:>14} {:7.2} ms", "exec", median(&mut times));
    shim.kill("", 9).unwrap();
    shim.wait("");
    shim.delete("");
    shim.shutdown();
}

#[test]
#[ignore = "a measurement"]
fn memory_of_fifty_shims() {
    let mut world = World::new();
    let mut shims: Vec<_> = (0..50)
        .map(|number| {
            let mut shim = world.shim(&format!("m{number}"), &["/bin/sleep", "1000"], |_| ());
            shim.create();
            shim.start_process("");
            shim.exec("e", &["/bin/true"]);
            shim.wait("e");
            shim.delete("e");
            shim
        })
        .collect();
    let field = |pid: u32, file: &str, name: &str| -> u64 {
        let text = fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let line = text.lines().find(|line| line.starts_with(name)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    let pss: u64 = shims.iter().map(|shim| field(shim.pid, "smaps_rollup", "Pss:")).sum();
    let private: u64 = shims.iter().map(|shim| field(shim.pid, "smaps_rollup", "Private_Dirty:")).sum();
    println!("{:>14} {} kB each, of it {} kB private and dirty", "PSS of 50", pss / 50, private / 50);
    println!("{:>14} {}", "threads", shims.iter().map(|shim| field(shim.pid, "status", "Threads:")).max().unwrap());
    for shim in &mut shims {
        shim.kill("", 9).unwrap();
        shim.wait("");
        shim.delete("");
    }
    for shim in shims {
        shim.shutdown();
    }
}
