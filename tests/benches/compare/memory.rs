//! Proportional memory of a daemon at rest and of shims.

use std::time::Duration;

use tests::bed::BUSYBOX;
use tests::{Daemon, Impl, image, memory};

use crate::table::Table;

const ROUNDS: usize = 3;
const CONTAINERS: usize = 50;

pub(crate) fn run(table: &mut Table) {
    for _ in 0..ROUNDS {
        for side in crate::SIDES {
            let daemon = crate::daemon(side);
            std::thread::sleep(Duration::from_secs(2));
            table.add(side, "daemon at rest, PSS", "MB", Some(0.25), memory::pss(daemon.pid()) as f64 / 1e6);
        }
    }
}

pub(crate) fn shims(table: &mut Table) {
    for side in crate::SIDES {
        let daemon = crate::daemon(side);
        let ctr = daemon.ctr(Impl::Go);
        ctr.ok(&format!("images import --local {}", image::busybox_archive().display()));
        for count in 0..CONTAINERS {
            ctr.ok(&format!("run -d --null-io {BUSYBOX} box{count} sleep 1000"));
        }
        std::thread::sleep(Duration::from_secs(2));
        let shims = shims_of(&daemon);
        assert_eq!(shims.len(), CONTAINERS);
        let sum: u64 = shims.iter().map(|&pid| memory::pss(pid)).sum();
        table.add(side, "one shim of 50, PSS", "MB", Some(0.15), sum as f64 / 1e6 / CONTAINERS as f64);
        table.add(side, "daemon with 50 running, PSS", "MB", None, memory::pss(daemon.pid()) as f64 / 1e6);
        for count in 0..CONTAINERS {
            ctr.ok(&format!("tasks rm -f box{count}"));
        }
    }
}

/// Processes with the daemon's address on their command line and a shim's name.
fn shims_of(daemon: &Daemon) -> Vec<u32> {
    let socket = daemon.socket().display().to_string();
    let processes = tests::leaks::entries(std::path::Path::new("/proc"));
    let is_shim = |path: &std::path::PathBuf| {
        let command = std::fs::read(path.join("cmdline")).unwrap_or_default();
        let command = String::from_utf8_lossy(&command).into_owned();
        command.contains(&socket) && command.contains("containerd-shim")
    };
    processes.iter().filter(|path| is_shim(path)).filter_map(|path| path.file_name()?.to_str()?.parse().ok()).collect()
}
