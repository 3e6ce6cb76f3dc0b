//! Import and unpack of a real image: time on the wall, and processor time of daemon and client together.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::{Daemon, Impl, memory};

use crate::table::Table;

const ROUNDS: usize = 3;

/// Kernel clock ticks of `/proc/<pid>/stat`, fixed in the kernel's interface.
const TICKS_PER_SECOND: f64 = 100.0;

pub(crate) fn run(table: &mut Table) {
    let archive = tests::programs::target_dir().join("bench-image/image.tar");
    assert!(archive.exists(), "{} does not exist: `make bench` makes it", archive.display());
    for _ in 0..ROUNDS {
        for side in crate::SIDES {
            let daemon = crate::daemon(side);
            let (wall, cpu) = import(&daemon, side, &archive, true);
            table.add(side, "import + unpack, wall", "s", Some(0.5), wall);
            table.add(side, "import + unpack, user+sys of daemon and ctr", "s", Some(0.5), cpu);
            std::thread::sleep(Duration::from_secs(2));
            let pss = memory::pss(daemon.pid()) as f64 / 1e6;
            table.add(side, "daemon after the import, PSS", "MB", Some(0.5), pss);
        }
        // Go's ctr without --local lets the daemon do it all (Transfer), as users of Go containerd have it.
        for side in crate::SIDES {
            let daemon = crate::daemon(side);
            let (wall, cpu) = import(&daemon, side, &archive, side == Impl::Ours);
            table.add(side, "the same, Go's by Transfer, wall", "s", Some(0.5), wall);
            table.add(side, "the same, Go's by Transfer, user+sys", "s", Some(0.5), cpu);
        }
    }
}

/// Imports the image and answers wall and processor seconds.
fn import(daemon: &Daemon, side: Impl, archive: &PathBuf, local: bool) -> (f64, f64) {
    forget_deleted_inodes();
    // Both read the archive from the page cache, and neither pays for what the other wrote.
    drop(std::fs::read(archive).expect("read the image"));
    let mut command = Command::new(side.ctr());
    command.arg("-a").arg(daemon.socket()).args(["-n", daemon.namespace(), "images", "import"]);
    command.args(local.then_some("--local")).arg(archive).stdout(Stdio::null()).stderr(Stdio::inherit());
    let before = Ticks::now(daemon.pid());
    let start = Instant::now();
    assert!(command.status().expect("start ctr").success(), "the import failed");
    let wall = start.elapsed().as_secs_f64();
    (wall, Ticks::now(daemon.pid()).since(&before))
}

/// Processor time of a daemon and of clients that have ended.
#[derive(Debug)]
pub(crate) struct Ticks(f64);

impl Ticks {
    /// Up to now.
    pub(crate) fn now(daemon: u32) -> Self {
        Self(ticks(daemon, OWN) + ticks(std::process::id(), CHILDREN))
    }

    /// Seconds since `before`.
    pub(crate) fn since(&self, before: &Self) -> f64 {
        (self.0 - before.0) / TICKS_PER_SECOND
    }
}

/// ext4 does not use an inode again for some minutes after it was deleted, unless the deletion is on the disk and no
/// longer in the cache. After a round that left many, making a file means to search the next free one among them, which
/// would double the system time of both sides.
fn forget_deleted_inodes() {
    rustix::fs::sync();
    std::fs::write("/proc/sys/vm/drop_caches", "1").expect("drop the caches");
}

/// Fields of `/proc/<pid>/stat` after the command's name: time of the process itself.
const OWN: [usize; 2] = [11, 12];
/// Time of the children it has waited for.
const CHILDREN: [usize; 2] = [13, 14];

fn ticks(pid: u32, fields: [usize; 2]) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).expect("read stat");
    let rest: Vec<&str> = stat.rsplit_once(')').expect("a command").1.split_whitespace().collect();
    fields.iter().map(|&field| rest[field].parse::<f64>().expect("ticks")).sum()
}
