//! What a command of `ctr` costs: time on the wall, and processor time of daemon and client together.

use std::{
    ffi::OsStr,
    fs,
    process::{Command, Stdio},
    thread,
    time::Instant,
};
use tests::{Daemon, Impl};

/// Kernel clock ticks of `/proc/<pid>/stat`, fixed in the kernel's interface.
const TICKS_PER_SECOND: f64 = 100.0;

/// Both in seconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: f64,
    pub(crate) cpu: f64,
}

/// Runs `ctr images ARGS` of the daemon's side, which must succeed.
pub(crate) fn images<S: AsRef<OsStr> + Sync>(daemon: &Daemon, side: Impl, args: &[S]) -> Cost {
    images_at_once(daemon, side, &[args])
}

/// The same for several commands at once, until the last has ended.
pub(crate) fn images_at_once<S: AsRef<OsStr> + Sync>(daemon: &Daemon, side: Impl, all: &[&[S]]) -> Cost {
    claim_memory();
    let (before, start) = (used(daemon), Instant::now());
    thread::scope(|scope| {
        for args in all {
            scope.spawn(|| {
                let mut command = Command::new(side.ctr());
                command.arg("-a").arg(daemon.socket()).args(["-n", daemon.namespace(), "images"]).args(*args);
                let output = command.stdin(Stdio::null()).output().expect("start ctr");
                assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
            });
        }
    });
    Cost { wall: start.elapsed().as_secs_f64(), cpu: used(daemon) - before }
}

/// Processor seconds of a daemon with the programs it ran, and of the clients, that have ended.
fn used(daemon: &Daemon) -> f64 {
    seconds(daemon.pid(), &[OWN, CHILDREN]) + seconds(std::process::id(), &[CHILDREN])
}

/// Processor seconds of a process by itself, up to now.
pub(crate) fn seconds_of(pid: u32) -> f64 {
    seconds(pid, &[OWN])
}

/// Fields of `/proc/<pid>/stat` after the command's name: time of the process itself.
const OWN: [usize; 2] = [11, 12];
/// Time of the children it has waited for.
const CHILDREN: [usize; 2] = [13, 14];

fn seconds(pid: u32, fields: &[[usize; 2]]) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).expect("read stat");
    let rest: Vec<&str> = stat.rsplit_once(')').expect("a command").1.split_whitespace().collect();
    let ticks = fields.iter().flatten().map(|&field| rest[field].parse::<f64>().expect("ticks"));
    ticks.sum::<f64>() / TICKS_PER_SECOND
}

/// Has memory that is free also be there.
///
/// A virtual machine gives free memory back to its host within seconds (free page reporting of virtio-balloon), and gets
/// it again a page at a time: four times what it costs to write a file's page, and paid by whoever comes by.
pub(crate) fn claim_memory() {
    /// In bytes: what is unpacked, twice over.
    const SIZE: usize = 3 << 30;
    std::hint::black_box(vec![1_u8; SIZE]);
}

/// Has `path`, a file or a tree, in the page cache.
pub(crate) fn warm(path: &std::path::Path) {
    if path.is_dir() {
        for entry in fs::read_dir(path).expect("list a directory") {
            warm(&entry.expect("an entry").path());
        }
    // What is being collected as garbage may be gone.
    } else if let Ok(mut file) = fs::File::open(path) {
        std::io::copy(&mut file, &mut std::io::sink()).expect("read a file");
    }
}
