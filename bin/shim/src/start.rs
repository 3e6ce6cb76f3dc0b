//! The `start` action: leaves a supervisor behind that serves a socket, and names the socket.

use crate::bootstrap::{Bootstrap, INPUT_LIMIT};
use crate::identity::Identity;
use crate::log::{self, warning};
use crate::socket::{self, Bound};
use crate::spec::Spec;
use model::{Error, Result};
use std::fs;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use sys::cgroup::Cgroup;
use sys::process::Extras;

/// Reads the parameters from stdin and answers on stdout.
///
/// On success nothing is written to stderr: containerd reads both as one.
pub(crate) fn run(identity: &Identity) -> Result<()> {
    let mut input = Vec::new();
    std::io::stdin()
        .take(INPUT_LIMIT)
        .read_to_end(&mut input)
        .map_err(|error| Error::io("read parameters from stdin", error))?;
    let has_max_version = std::env::var_os("MAX_SHIM_VERSION").is_some();
    let bootstrap = Bootstrap::parse(&input, &identity.id, &identity.namespace, has_max_version)?;
    let spec = Spec::load(&identity.bundle)?;
    let group = spec.group().unwrap_or(&identity.id);
    let directory = bootstrap.socket_dir.as_deref().unwrap_or(Path::new(socket::DIRECTORY));
    let path = socket::path(directory, &identity.address, &identity.namespace, group)?;
    if let Bound::Listener(listener) = socket::bind(&path)? {
        leave_supervisor(identity, &bootstrap, listener).inspect_err(|_| {
            let _gone = fs::remove_file(&path);
        })?;
    }
    answer(&bootstrap.answer(&format!("unix://{}", path.display())))
}

fn answer(bytes: &[u8]) -> Result<()> {
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::retry_on_intr(|| rustix::io::write(rustix::stdio::stdout(), rest))
            .map_err(|error| Error::io("write answer", error.into()))?;
        rest = &rest[written..];
    }
    Ok(())
}

fn leave_supervisor(identity: &Identity, bootstrap: &Bootstrap, listener: OwnedFd) -> Result<()> {
    if std::env::var_os("SCHED_CORE").is_some() {
        sys::process::create_core_scheduling_group().map_err(|error| Error::io("enable sched core support", error))?;
    }
    let mut child = spawn(identity, listener)?;
    let placed = place(&child, &bootstrap.options.shim_cgroup);
    if placed.is_err() {
        // A supervisor outside its cgroup is not what was asked for.
        let _ended = child.kill();
    }
    placed?;
    if let Err(error) = raise_oom_score(child.id()) {
        log::to_bundle(&identity.bundle);
        warning!("failed to adjust OOM score for shim: {error}");
    }
    Ok(())
}

fn spawn(identity: &Identity, listener: OwnedFd) -> Result<Child> {
    let executable = own_executable();
    let mut command = Command::new(&executable);
    command
        .args(["-namespace", &identity.namespace, "-id", &identity.id, "-address", &identity.address])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    if identity.debug {
        command.arg("-debug");
    }
    sys::process::spawn(&mut command, &Extras { fds: vec![listener], ..Extras::default() })
        .map_err(|error| Error::io(format!("start {}", executable.display()), error))
}

/// Our binary by its own name, which `ps` then shows; by `/proc` when it was replaced.
fn own_executable() -> PathBuf {
    const SELF: &str = "/proc/self/exe";
    fs::read_link(SELF).ok().filter(|path| path.exists()).unwrap_or_else(|| PathBuf::from(SELF))
}

fn place(child: &Child, cgroup: &str) -> Result<()> {
    if cgroup.is_empty() {
        return Ok(());
    }
    Cgroup::at(Path::new(cgroup))
        .map_err(|error| Error::io(format!("failed to load cgroup {cgroup}"), error))?
        .add_process(child.id())
        .map_err(|error| Error::io(format!("failed to join cgroup {cgroup}"), error))
}

/// Lets the kernel prefer the shim to the daemon when memory is short: the daemon's score
/// and one more. Lowering it again would need a capability, so this is best effort.
fn raise_oom_score(child: u32) -> std::io::Result<()> {
    let parent = rustix::process::getppid().map_or(1, |pid| pid.as_raw_nonzero().get());
    let score = fs::read_to_string(format!("/proc/{parent}/oom_score_adj"))?;
    let score: i32 = score.trim().parse().map_err(|_| std::io::Error::from(std::io::ErrorKind::InvalidData))?;
    fs::write(format!("/proc/{child}/oom_score_adj"), score.saturating_add(1).min(1000).to_string())
}
