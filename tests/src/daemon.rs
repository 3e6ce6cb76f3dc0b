//! One daemon under a temporary directory: started, killed, restarted, stopped, and cleaned up after.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::api::Api;
use crate::ctr::Output;
use crate::leaks::Traces;
use crate::{Ctr, Impl, PATIENCE};

/// Parts of Go containerd that no test needs and that would touch the machine outside our directory.
const DISABLED: &[&str] = &[
    "io.containerd.grpc.v1.cri",
    "io.containerd.cri.v1.images",
    "io.containerd.cri.v1.runtime",
    "io.containerd.podsandbox.controller.v1.podsandbox",
    "io.containerd.nri.v1.nri",
    "io.containerd.internal.v1.opt",
    "io.containerd.snapshotter.v1.blockfile",
    "io.containerd.snapshotter.v1.btrfs",
    "io.containerd.snapshotter.v1.devmapper",
    "io.containerd.snapshotter.v1.erofs",
    "io.containerd.snapshotter.v1.zfs",
    "io.containerd.differ.v1.erofs",
];

/// Timeouts of a daemon, as TOML, for a machine that is busy or emulated: what takes longer is left out of lists and
/// statistics.
pub const TIMEOUTS: &str = "[timeouts]\n\"io.containerd.timeout.task.state\" = \"60s\"\n\
    \"io.containerd.timeout.metrics.shimstats\" = \"60s\"\n\"io.containerd.timeout.shim.load\" = \"60s\"\n\
    \"io.containerd.timeout.shim.cleanup\" = \"60s\"\n\"io.containerd.timeout.shim.shutdown\" = \"30s\"\n";

/// Settings of the tests, [`TIMEOUTS`] last: log everything, and no collection of its own accord just after a start. Tests say when,
/// by `leases rm --sync` and the like. Go's restart monitor only polls, and not for 10 seconds.
#[must_use]
pub fn testing() -> String {
    format!(
        "[debug]\nlevel = \"debug\"\n\
         [plugins.\"io.containerd.gc.v1.scheduler\"]\nstartup_delay = \"1h\"\n\
         [plugins.\"io.containerd.monitor.container.v1.restart\"]\ninterval = \"1s\"\n{TIMEOUTS}"
    )
}

/// A daemon and everything under it. Dropping it ends and removes all of that.
#[derive(Debug)]
pub struct Daemon {
    which: Impl,
    traces: Traces,
    child: Option<Child>,
    /// Whether Go's daemon may have other programs decompress for it, where the machine has them.
    decompressors: bool,
    /// What starts the daemon in its place and gives it its pid; empty: nothing.
    launcher: &'static [&'static str],
    // Last, so that it is removed when nothing in it is mounted or running any more.
    _dir: TempDir,
}

impl Daemon {
    /// Starts a daemon that finds the given shim, and waits until it serves.
    #[must_use]
    pub fn start(which: Impl, shim: Impl) -> Self {
        Self::configured(which, shim, &testing())
    }

    /// [`Daemon::start`] with other settings than the tests': TOML of version 3, after directories and socket.
    #[must_use]
    pub fn configured(which: Impl, shim: Impl, settings: &str) -> Self {
        Self::set_up(which, shim, settings, None, &[])
    }

    /// [`Daemon::configured`], and Go's inflates by `igzip` or `unpigz` if the machine has them.
    #[must_use]
    pub fn with_decompressors(which: Impl, settings: &str) -> Self {
        let mut daemon = Self::configured(which, which, settings);
        daemon.decompressors = true;
        daemon.restart();
        daemon
    }

    /// [`Daemon::start`] on a root directory that is there already, and stays.
    #[must_use]
    pub fn on_root(which: Impl, root: &Path) -> Self {
        Self::set_up(which, which, &testing(), Some(root), &[])
    }

    /// [`Daemon::start`] in a user namespace in which only root exists, and a mount namespace.
    #[must_use]
    pub fn unprivileged(which: Impl) -> Self {
        Self::set_up(which, which, &testing(), None, &["unshare", "--user", "--map-root-user", "--mount"])
    }

    /// [`Daemon::start`] in a mount namespace with an empty `/run`: Go's ctr has pipes there that no flag moves.
    #[must_use]
    pub fn apart(which: Impl) -> Self {
        let own_run = &["unshare", "--mount", "sh", "-c", "mount -t tmpfs tmpfs /run && exec \"$0\" \"$@\""];
        Self::set_up(which, which, &testing(), None, own_run)
    }

    /// Runs a line of ctr in the daemon's mount namespace.
    #[must_use]
    pub fn ctr_beside(&self, which: Impl, line: &str) -> Output {
        let command = self.ctr(which).command(line);
        let mut beside = Command::new("nsenter");
        beside.args(["--mount", "--target", &self.pid().to_string()]).arg(command.get_program());
        beside.args(command.get_args()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        crate::ctr::output(beside.spawn().expect("start nsenter(1)"), b"")
    }

    fn set_up(which: Impl, shim: Impl, settings: &str, root: Option<&Path>, launcher: &'static [&str]) -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let dir = tempfile::Builder::new().prefix("cd-").tempdir().expect("make a temporary directory");
        let namespace = format!("t{}-{}", std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed));
        let traces = Traces { dir: dir.path().to_path_buf(), namespace };
        fs::create_dir(dir.path().join("bin")).expect("make bin/");
        std::os::unix::fs::symlink(shim.shim(), dir.path().join("bin/containerd-shim-runc-v2")).expect("link the shim");
        fs::write(dir.path().join("config.toml"), config(dir.path(), settings)).expect("write config.toml");
        if let Some(root) = root {
            std::os::unix::fs::symlink(root, dir.path().join("root")).expect("link the root");
        }
        let mut daemon = Self { which, traces, child: None, decompressors: false, launcher, _dir: dir };
        daemon.restart();
        daemon
    }

    /// Starts the daemon again on the same directories, stopping it first if it runs, and waits until it serves.
    pub fn restart(&mut self) {
        self.stop();
        self.spawn();
        let start = Instant::now();
        while !self.is_serving() {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().ok().flatten()) {
                // A child of the daemon before may hold its lock until it runs its program.
                assert!(
                    self.log_tail().contains(" is in use"),
                    "the daemon ended at start: {status}\n{}",
                    self.log_tail()
                );
                self.spawn();
            }
            assert!(start.elapsed() < PATIENCE, "the daemon does not serve\n{}", self.log_tail());
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
    }

    /// Starts the process and does not wait for it to serve.
    pub fn spawn(&mut self) {
        let log = File::options().create(true).append(true).open(self.dir().join("log")).expect("open the log");
        let path = format!("{}/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", self.dir().display());
        let program = self.which.containerd();
        let words: Vec<&OsStr> = self.launcher.iter().map(OsStr::new).chain([program.as_os_str()]).collect();
        let mut command = Command::new(words[0]);
        if !self.decompressors {
            // A tool that is not on every machine must not change what is tested or measured.
            command.envs([("CONTAINERD_DISABLE_PIGZ", "1"), ("CONTAINERD_DISABLE_IGZIP", "1")]);
        }
        let child = command
            .args(&words[1..])
            .arg("--config")
            .arg(self.dir().join("config.toml"))
            .env("PATH", path)
            .env("TMPDIR", self.dir())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("share the log"))
            .stderr(log)
            .spawn();
        self.child = Some(child.expect("start the daemon"));
    }

    fn is_serving(&self) -> bool {
        self.socket().exists() && Api::dial(&self.socket(), self.namespace()).is_ok_and(|api| api.is_serving())
    }

    /// Ends the daemon as a power-less init would: at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("kill the daemon");
            child.wait().expect("wait for the daemon");
        }
    }

    /// Asks the daemon to stop and waits for it; None when it did not run.
    pub fn stop(&mut self) -> Option<ExitStatus> {
        let mut child = self.child.take()?;
        self.signal_pid(child.id(), Signal::TERM);
        let start = Instant::now();
        loop {
            if let Some(status) = child.try_wait().expect("wait for the daemon") {
                return Some(status);
            }
            if start.elapsed() > PATIENCE {
                child.kill().expect("kill the daemon");
                child.wait().expect("wait for the daemon");
                panic!("the daemon did not stop on SIGTERM\n{}", self.log_tail());
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
    }

    /// Sends the daemon a signal.
    pub fn signal(&self, signal: Signal) {
        self.signal_pid(self.pid(), signal);
    }

    fn signal_pid(&self, pid: u32, signal: Signal) {
        let pid = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a pid");
        kill_process(pid, signal).unwrap_or_else(|e| panic!("signal the daemon: {e}\n{}", self.log_tail()));
    }

    /// Stops the daemon, which must end well, and checks that nothing was left on the machine.
    pub fn finish(mut self) {
        let status = self.stop().expect("the daemon runs");
        assert!(status.success(), "the daemon ended with {status}\n{}", self.log_tail());
        let start = Instant::now();
        let mut found = self.traces.found();
        // Shims end on their own a moment after their task is deleted.
        while start.elapsed() < PATIENCE && !found.is_empty() {
            std::thread::sleep(std::time::Duration::from_millis(20));
            found = self.traces.found();
        }
        assert!(found.is_empty(), "left behind: {found:#?}");
    }

    /// The daemon's process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.as_ref().expect("the daemon runs").id()
    }

    /// Whose daemon it is.
    #[must_use]
    pub fn which(&self) -> Impl {
        self.which
    }

    /// Everything of this daemon is under it.
    #[must_use]
    pub fn dir(&self) -> &Path {
        &self.traces.dir
    }

    /// What persists.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.dir().join("root")
    }

    /// What a reboot loses: bundles and sockets.
    #[must_use]
    pub fn state(&self) -> PathBuf {
        self.dir().join("state")
    }

    /// The gRPC socket.
    #[must_use]
    pub fn socket(&self) -> PathBuf {
        self.dir().join("c.sock")
    }

    /// The namespace that ctr and [`Api`] use with this daemon; no other test on this machine has it.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.traces.namespace
    }

    /// What this daemon and its containers may leave on the machine.
    #[must_use]
    pub fn traces(&self) -> &Traces {
        &self.traces
    }

    /// A ctr bound to this daemon.
    #[must_use]
    pub fn ctr(&self, which: Impl) -> Ctr {
        Ctr::new(which, &self.socket(), self.namespace())
    }

    /// All that the daemon has logged.
    #[must_use]
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(self.dir().join("log")).unwrap_or_default()).into_owned()
    }

    fn log_tail(&self) -> String {
        let log = self.log();
        let lines: Vec<&str> = log.lines().filter(|line| !line.contains("level=debug")).collect();
        lines[lines.len().saturating_sub(40)..].join("\n")
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- end of the daemon's log ({:?}) ---\n{}", self.which, self.log_tail());
        }
        if let Some(mut child) = self.child.take() {
            drop(child.kill());
            drop(child.wait());
        }
        self.traces.remove();
    }
}

fn config(dir: &Path, settings: &str) -> String {
    let dir = dir.display();
    let disabled = DISABLED.iter().map(|id| format!("\"{id}\"")).collect::<Vec<_>>().join(", ");
    format!(
        "version = 3\nroot = \"{dir}/root\"\nstate = \"{dir}/state\"\ndisabled_plugins = [{disabled}]\n\
         [grpc]\naddress = \"{dir}/c.sock\"\n{settings}"
    )
}
