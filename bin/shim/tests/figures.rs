//! Measurements, printed: `SHIM=… cargo test -p shim --test figures -- --ignored --nocapture --test-threads=1`.
//!
//! `SHIM` is the shim as it is shipped (`make shim`); without it the one of this build.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]
#![allow(clippy::print_stdout, reason = "figures are for reading")]

mod support;

use proto::shim::containerd::task::v3::ShutdownRequest;
use std::fs;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use support::World;

const ROUNDS: usize = 60;

/// The times of steps, by name, in the order in which they were first taken.
#[derive(Default)]
struct Steps(Vec<(&'static str, Vec<Duration>)>);

impl Steps {
    /// Runs `work` and adds its time to those of `step`.
    fn timed<T>(&mut self, step: &'static str, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = work();
        let took = start.elapsed();
        match self.0.iter_mut().find(|(name, _)| *name == step) {
            Some((_, times)) => times.push(took),
            None => self.0.push((step, vec![took])),
        }
        result
    }

    /// The median in milliseconds; none of a step that was not taken.
    fn median(&self, step: &str) -> Option<f64> {
        let (_, times) = self.0.iter().find(|(name, _)| *name == step)?;
        let mut times = times.clone();
        times.sort_unstable();
        Some(times[times.len() / 2].as_secs_f64() * 1000.0)
    }
}

/// Each step through the shim, and the same calls of runc made by hand, which are not ours, taking turns.
#[test]
#[ignore = "a measurement"]
fn time_of_each_step() {
    let mut world = World::new();
    let (mut ours, mut bare) = (Steps::default(), Steps::default());
    for round in 0..ROUNDS {
        through_the_shim(&mut world, &format!("f{round}"), &mut ours);
        by_hand(&world, &format!("r{round}"), &mut bare);
    }
    println!("| step | with the shim | bare runc | what is not runc |\n|---|--:|--:|--:|");
    let mut sum = 0.0;
    for (step, _) in &ours.0 {
        let (with, without) = (ours.median(step).unwrap(), bare.median(step));
        let rest = with - without.unwrap_or_default();
        sum += rest;
        let without = without.map_or_else(String::new, |time| format!("{time:.1}"));
        println!("| {step} | {with:.1} | {without} | {rest:.1} |");
    }
    println!("| all | | | {sum:.1} |");
}

fn through_the_shim(world: &mut World, id: &str, steps: &mut Steps) {
    let mut shim = steps.timed("shim start", || world.shim(id, &["/bin/sleep", "1000"], |_| ()));
    steps.timed("create", || shim.create());
    steps.timed("start", || shim.start_process(""));
    steps.timed("exec", || shim.exec("e", &["/bin/true"]));
    assert_eq!(steps.timed("wait for the exec", || shim.wait("e")), 0);
    steps.timed("delete the exec", || shim.delete("e"));
    shim.kill("", 9).unwrap();
    shim.wait("");
    steps.timed("delete", || shim.delete(""));
    steps.timed("shutdown", || {
        shim.client.call::<()>("Shutdown", &ShutdownRequest { id: id.into(), now: false }).unwrap();
        // Looked at all the time: what waits between two looks would be measured.
        while support::is_running(shim.pid) {
            std::thread::yield_now();
        }
    });
}

fn by_hand(world: &World, id: &str, steps: &mut Steps) {
    let bundle = world.bundle(id, &["/bin/sleep", "1000"], |spec| {
        spec["root"]["path"] = world.path("rootfs").to_string_lossy().into_owned().into();
    });
    let runc = |arguments: &[&str]| {
        let mut command = Command::new("runc");
        command.arg("--root").arg(world.path("runc")).args(arguments).current_dir(&bundle);
        let null = || Stdio::null();
        assert!(command.stdin(null()).stdout(null()).stderr(null()).status().unwrap().success(), "runc {arguments:?}");
    };
    steps.timed("create", || runc(&["create", "--pid-file", "pid", id]));
    steps.timed("start", || runc(&["start", id]));
    steps.timed("exec", || runc(&["exec", "--detach", "--pid-file", "exec.pid", id, "/bin/true"]));
    runc(&["kill", id, "KILL"]);
    let pid: u32 = fs::read_to_string(bundle.join("pid")).unwrap().parse().unwrap();
    support::eventually("the process has ended", || !support::is_running(pid));
    steps.timed("delete", || runc(&["delete", id]));
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
