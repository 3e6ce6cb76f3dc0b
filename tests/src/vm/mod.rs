//! A virtual machine: Debian's kernel in qemu, on an initramfs made of the programs under test.
//!
//! For what the machine that runs the tests cannot show: a power cut, and unified cgroups. It runs in
//! software emulation, 10 to 30 times slower than the machine, so nothing here is a measurement.

mod disk;
mod initramfs;
mod write_log;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

pub use disk::{Disk, Mounted};
pub use initramfs::Initramfs;
pub use write_log::WriteLog;

/// Longest that a machine may take to say the next line. Emulation is slow, and the host may be busy.
const PATIENCE: Duration = Duration::from_secs(1200);

/// For the kernel: what it does for the safety and for the load of a real machine only costs time in an emulated one.
const COMMAND_LINE: &str =
    "console=ttyS0 loglevel=1 panic=1 mitigations=off rcupdate.rcu_expedited=1 random.trust_cpu=on tsc=reliable";

/// A running machine whose serial console is read line by line. Dropping it cuts its power.
#[derive(Debug)]
pub struct Vm {
    qemu: Child,
    lines: Receiver<String>,
    seen: Vec<String>,
}

impl Vm {
    /// Boots `initramfs` with `disk` as /dev/vda, every write to it recorded in `log` where one is given.
    #[must_use]
    pub fn boot(initramfs: &Path, disk: &Path, log: Option<&Path>) -> Self {
        let mut qemu = Command::new("qemu-system-x86_64");
        qemu.args([
            "-accel",
            "tcg,thread=multi",
            "-cpu",
            "max",
            "-smp",
            "2",
            "-m",
            "1024",
            "-nographic",
            "-nodefaults",
        ])
        .args(["-no-reboot", "-serial", "stdio", "-append", COMMAND_LINE])
        .arg("-kernel")
        .arg(kernel())
        .arg("-initrd")
        .arg(initramfs)
        .args(["-blockdev", &format!("driver=file,node-name=data,filename={}", disk.display())]);
        let top = match log {
            Some(log) => {
                qemu.args(["-blockdev", &format!("driver=file,node-name=log,filename={}", log.display())]);
                qemu.args(["-blockdev", "driver=blklogwrites,node-name=logged,file=data,log=log"]);
                "logged"
            }
            None => "data",
        };
        qemu.args(["-device", &format!("virtio-blk-pci,drive={top},write-cache=on")]);
        let mut qemu = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().expect("start qemu-system-x86_64");
        let console = BufReader::new(qemu.stdout.take().expect("the serial console"));
        let (send, lines) = channel();
        std::thread::spawn(move || {
            for line in console.split(b'\n').map_while(Result::ok) {
                let line = String::from_utf8_lossy(&line).trim_end().to_owned();
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { qemu, lines, seen: Vec::new() }
    }

    /// The next line of the console that starts with `prefix`, without it.
    ///
    /// # Panics
    /// When the machine ends first, or says nothing for too long.
    pub fn wait_for(&mut self, prefix: &str) -> String {
        loop {
            let Ok(line) = self.lines.recv_timeout(PATIENCE) else {
                panic!("no line {prefix:?} on the console, which said:\n{}", self.seen.join("\n"));
            };
            let found = line.strip_prefix(prefix).map(|rest| rest.trim().to_owned());
            self.seen.push(line);
            if let Some(rest) = found {
                return rest;
            }
        }
    }

    /// Cuts the power, and returns every line that the machine said until then.
    #[must_use]
    pub fn cut_power(mut self) -> Vec<String> {
        self.kill();
        let mut seen = std::mem::take(&mut self.seen);
        seen.extend(self.lines.iter());
        seen
    }

    fn kill(&mut self) {
        drop(self.qemu.kill());
        drop(self.qemu.wait());
    }
}

impl Drop for Vm {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Where `scripts/kernel.sh` unpacked the kernel's package.
fn kernel_package() -> PathBuf {
    let dir = crate::programs::target_dir().join("kernel");
    assert!(dir.join("complete").exists(), "{} does not exist: scripts/kernel.sh makes it", dir.display());
    dir
}

fn kernel() -> PathBuf {
    let boot = kernel_package().join("boot");
    let entries = std::fs::read_dir(&boot).expect("read boot/").map(|entry| entry.expect("read boot/").path());
    entries
        .into_iter()
        .find(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("vmlinuz-")))
        .expect("a kernel")
}
