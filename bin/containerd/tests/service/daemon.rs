//! One daemon under a temporary directory, killed when dropped.

use client::Client;
use model::Namespace;
use std::{
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Output, Stdio},
    thread,
    time::Duration,
};
use tempfile::TempDir;

/// How long anything may take before a test fails: only ever waited for in vain.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct Daemon {
    child: Option<Child>,
    folder: TempDir,
}

impl Daemon {
    /// Starts a daemon on fresh directories and waits until it serves.
    pub(crate) fn start() -> Self {
        Self::configured("")
    }

    /// The same, with more configuration (version 3). No garbage is collected just after the start.
    pub(crate) fn configured(more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let config = format!(
            "version = 3\nroot = '{}'\nstate = '{}'\n{more}\n[grpc]\naddress = '{}'\n\
             [plugins.'io.containerd.gc.v1.scheduler']\nstartup_delay = '1h'\n",
            at("root").display(),
            at("state").display(),
            at("c.sock").display()
        );
        fs::write(at("config.toml"), config).unwrap();
        let mut daemon = Self { child: None, folder };
        daemon.restart();
        daemon
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.path("c.sock")
    }

    /// The command that starts this daemon, or another on the same directories.
    pub(crate) fn command(&self) -> Command {
        let mut command = containerd();
        command.arg("--config").arg(self.path("config.toml")).env("TMPDIR", self.folder.path());
        command
    }

    /// Starts it, after an end of whatever kind.
    pub(crate) fn restart(&mut self) {
        let before = self.log().len();
        let log = File::options().create(true).append(true).open(self.path("log")).unwrap();
        let mut child = self.command().stdin(Stdio::null()).stderr(log).spawn().unwrap();
        let mut waited = Duration::ZERO;
        while !self.log()[before..].contains("successfully booted") {
            assert!(child.try_wait().unwrap().is_none(), "did not start: {}", self.log());
            assert!(waited < PATIENCE, "does not start: {}", self.log());
            waited += pause();
        }
        self.child = Some(child);
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(self.child.as_ref().unwrap());
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// Waits for its end.
    pub(crate) fn ended(&mut self) -> ExitStatus {
        self.child.take().unwrap().wait().unwrap()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) async fn client(&self) -> Client {
        let space = Namespace::new("default").unwrap();
        Client::connect(self.socket().to_str().unwrap(), space, PATIENCE).await.unwrap()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The program under test.
pub(crate) fn containerd() -> Command {
    Command::new(env!("CARGO_BIN_EXE_containerd"))
}

/// Runs `command` to its end with `input` on its standard input.
pub(crate) fn run(command: &mut Command, input: &[u8]) -> Output {
    let mut file = tempfile::tempfile().unwrap();
    std::io::Write::write_all(&mut file, input).unwrap();
    std::io::Seek::rewind(&mut file).unwrap();
    command.stdin(file).output().unwrap()
}

/// Runs `command`, which must fail, and returns what it says.
pub(crate) fn refusal(command: &mut Command) -> String {
    let output = run(command, b"");
    assert!(!output.status.success(), "{command:?} did not fail");
    String::from_utf8(output.stderr).unwrap()
}

/// A short sleep between two looks at something.
pub(crate) fn pause() -> Duration {
    let step = Duration::from_millis(20);
    thread::sleep(step);
    step
}

/// What is in the file once it is there and not empty.
pub(crate) fn await_file(path: &Path) -> String {
    let mut waited = Duration::ZERO;
    loop {
        let mut text = String::new();
        if File::open(path).is_ok_and(|mut file| file.read_to_string(&mut text).is_ok()) && !text.is_empty() {
            return text;
        }
        assert!(waited < PATIENCE, "{} does not appear", path.display());
        waited += pause();
    }
}
