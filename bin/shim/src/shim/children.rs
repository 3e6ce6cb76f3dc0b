//! Child processes: calls of runc and loggers, and the processes of containers, which
//! become our children when runc ends.

use super::Shim;
use crate::log::warning;
use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
use std::fmt;
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt as _;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use sys::cgroup::Forerunner;
use sys::process::Extras;

/// What follows a child's end; it gets the exit status.
type Continuation = Box<dyn FnOnce(&mut Shim, u32)>;

/// A child that something waits for.
pub(super) struct Child {
    then: Continuation,
    /// When it is killed.
    deadline: Option<Instant>,
}

/// How long a call of the runtime may take that no client waits for.
const UNASKED: Duration = Duration::from_secs(60);

/// How much of a call's output is kept.
const OUTPUT_LIMIT: u64 = 64 << 10;

/// Why a call of the runtime failed, in the words of Go's wrapper, which clients match.
#[derive(Debug)]
pub(crate) struct CallError {
    reason: String,
    output: String,
}

impl CallError {
    fn start(program: &str, error: &std::io::Error) -> Self {
        let reason = match error.kind() {
            std::io::ErrorKind::NotFound => format!("exec: {program:?}: executable file not found in $PATH"),
            _ => format!("fork/exec {program}: {error}"),
        };
        Self { reason, output: String::new() }
    }

    /// What the runtime printed.
    pub(crate) fn output(&self) -> &str {
        &self.output
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.output.trim_end() {
            "" => out.write_str(&self.reason),
            output => write!(out, "{}: {output}", self.reason),
        }
    }
}

impl Shim {
    /// Runs a short-lived `command` of the runtime, and `then` when it has ended. Both its
    /// outputs are kept for the error's text. At `deadline` it is killed.
    pub(crate) fn call(
        &mut self,
        mut command: Command,
        deadline: Option<Instant>,
        then: impl FnOnce(&mut Self, Result<(), CallError>) + 'static,
    ) {
        let output = match capture(&mut command) {
            Ok(output) => output,
            Err(error) => return then(self, Err(CallError::start("memfd", &error))),
        };
        self.run_child(command, Some(output), deadline, then);
    }

    /// Runs a call that no client waits for, under a deadline of our own.
    pub(crate) fn call_unasked(
        &mut self,
        command: Command,
        then: impl FnOnce(&mut Self, Result<(), CallError>) + 'static,
    ) {
        self.call(command, Some(Instant::now() + UNASKED), then);
    }

    /// Runs `command` as it is, and `then` when it has ended. At `deadline`, when its client
    /// has given up, it is killed: others wait for their turn with the same container.
    pub(crate) fn run_child(
        &mut self,
        mut command: Command,
        output: Option<Output>,
        deadline: Option<Instant>,
        then: impl FnOnce(&mut Self, Result<(), CallError>) + 'static,
    ) {
        let program = command.get_program().to_string_lossy().into_owned();
        // A runtime left alone by a shim that was killed would finish behind the back of
        // the clean-up that follows.
        let extras = Extras { dies_with_parent: true, file_limit: Some(self.file_limit), ..Extras::default() };
        let child = sys::process::spawn(&mut command, &extras);
        // With the command go our copies of the descriptors it gave to the child.
        drop(command);
        match child {
            Err(error) => {
                let error = CallError::start(&program, &error);
                self.soon(Box::new(move |shim| then(shim, Err(error))));
            }
            Ok(child) => {
                let pid = child.id();
                self.when_ended(pid, move |shim, status| {
                    let output = output.map(|output| output.read()).unwrap_or_default();
                    let reason = format!("{program} did not terminate successfully: exit status {status}");
                    then(shim, if status == 0 { Ok(()) } else { Err(CallError { reason, output }) });
                });
                if let Some(deadline) = deadline {
                    self.kill_at(deadline, pid);
                }
            }
        }
    }

    /// Kills our child `pid` at `deadline` if it has not ended by then.
    fn kill_at(&mut self, deadline: Instant, pid: u32) {
        if let Some(child) = self.children.get_mut(&pid) {
            child.deadline = Some(deadline);
        }
        self.after(deadline.saturating_duration_since(Instant::now()), move |shim| {
            // Another child may have the number by now, with a deadline of its own.
            if shim.children.get(&pid).is_some_and(|child| child.deadline == Some(deadline)) {
                warning!("process {pid} did not end in time and is killed");
                // It is our child and not reaped yet, so the number is its own.
                let _gone = sys::process::kill(pid, 9);
            }
        });
    }

    /// Runs `then` when our child `pid` has ended.
    pub(crate) fn when_ended(&mut self, pid: u32, then: impl FnOnce(&mut Self, u32) + 'static) {
        self.children.insert(pid, Child { then: Box::new(then), deadline: None });
    }

    /// Whether the continuation of child `pid` is still to come.
    pub(crate) fn is_awaited(&self, pid: u32) -> bool {
        self.children.contains_key(&pid)
    }

    /// Collects every child that has ended. There may be many for one signal.
    pub(super) fn reap(&mut self) {
        while let Some(exited) = sys::process::reap() {
            if let Some(child) = self.children.remove(&exited.pid) {
                (child.then)(self, exited.status);
            } else if self.pids.contains_key(&exited.pid) {
                self.process_ended(exited.pid, exited.status);
            } else if self.launches > 0 {
                // It may be the very process whose id runc is about to tell us.
                self.ended_early.insert(exited.pid, exited.status);
            }
        }
    }

    /// Announces that runc will make a process whose id is not known yet, and put it into a
    /// control group.
    pub(crate) fn begin_launch(&mut self) {
        self.launches += 1;
        if let Some(forerunner) = self.forerunner.get_or_init(|| Forerunner::new().ok()) {
            // Without it the launch only takes longer.
            let _best_effort = forerunner.run();
        }
    }

    /// The counterpart of [`Self::begin_launch`]: the status `pid` ended with, if it has
    /// ended. A child that lives cannot be the one that had the number before.
    pub(crate) fn end_launch(&mut self, pid: Option<u32>) -> Option<u32> {
        let early = pid.and_then(|pid| self.ended_early.remove(&pid).filter(|_| !sys::process::is_child(pid)));
        self.launches = self.launches.saturating_sub(1);
        if self.launches == 0 {
            self.ended_early = std::collections::HashMap::new();
        }
        early
    }
}

/// The captured output of a call: a file in memory that cannot grow beyond the limit, so
/// that the child never waits for us to read.
#[derive(Debug)]
pub(crate) struct Output(OwnedFd);

/// Sends stdout and stderr of `command` to memory, and gives it an empty stdin.
pub(crate) fn capture(command: &mut Command) -> std::io::Result<Output> {
    let file = memfd_create("output", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    ftruncate(&file, OUTPUT_LIMIT)?;
    fcntl_add_seals(&file, SealFlags::GROW | SealFlags::SHRINK)?;
    command.stdout(Stdio::from(file.try_clone()?)).stderr(Stdio::from(file.try_clone()?));
    if command.get_args().all(|argument| argument != "--resources=-") {
        command.stdin(Stdio::null());
    }
    Ok(Output(file))
}

impl Output {
    fn read(self) -> String {
        // The child wrote through the same open file, so its position is the length.
        let length = rustix::fs::tell(&self.0).unwrap_or(0).min(OUTPUT_LIMIT);
        let mut bytes = vec![0; usize::try_from(length).unwrap_or(0)];
        let file = std::fs::File::from(self.0);
        if file.read_exact_at(&mut bytes, 0).is_err() {
            return String::new();
        }
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn output_is_kept_up_to_the_limit_and_the_child_never_waits() {
        let _forking = crate::FORKING.write();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo out; echo err >&2"]);
        let output = capture(&mut command).unwrap();
        assert!(command.status().unwrap().success());
        assert_eq!(output.read(), "out\nerr\n");

        let mut command = Command::new("/bin/sh");
        command.args(["-c", "head -c 200000 /dev/zero; exit 3"]);
        let output = capture(&mut command).unwrap();
        assert_eq!(command.status().unwrap().code(), Some(3));
        assert!(output.read().len() <= 65536);
    }

    #[test]
    fn errors_read_as_gos() {
        let error =
            CallError { reason: "runc did not terminate successfully: exit status 1".into(), output: "x\n".into() };
        assert_eq!(error.to_string(), "runc did not terminate successfully: exit status 1: x");
        let error = CallError::start("crun", &std::io::Error::from(std::io::ErrorKind::NotFound));
        assert_eq!(error.to_string(), "exec: \"crun\": executable file not found in $PATH");
    }
}
