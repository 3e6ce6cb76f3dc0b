//! Calls of runc that make a process: `create`, `exec` and `restore`.

use super::{ProcessKey, runtime_error};
use crate::io::ConsoleSocket;
use crate::log;
use crate::shim::{Shim, capture};
use model::{Error, Result};
use std::path::{Path, PathBuf};
use std::process::Stdio as ChildStdio;
use std::time::Instant;

impl Shim {
    /// Calls the runtime with `arguments` (the verb first), `--pid-file`, a console socket
    /// where the process has a terminal, and the container's id; starts copying its stdio;
    /// and gives the process id to `then`. At `deadline` the
    /// runtime is killed. `message` introduces its error.
    pub(super) fn launch(
        &mut self,
        key: &ProcessKey,
        arguments: &[String],
        deadline: Option<Instant>,
        message: &'static str,
        then: impl FnOnce(&mut Self, Result<u32>) + 'static,
    ) {
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        let runc = container.runc.clone();
        let pid_file = pid_file(&container.bundle, key);
        // An old file must not be taken for the answer.
        let _absent = std::fs::remove_file(&pid_file);
        let Ok(process) = container.process(&key.exec) else { return };
        let mut command = runc.command();
        command.args(arguments).arg("--pid-file").arg(&pid_file);
        let output = if process.stdio.terminal {
            match ConsoleSocket::new() {
                Ok(socket) => {
                    command.arg("--console-socket").arg(socket.path());
                    process.io.console = Some(socket);
                }
                Err(error) => {
                    let error = Error::io("failed to create OCI runtime console socket", error);
                    return then(self, Err(error));
                }
            }
            capture(&mut command).ok()
        } else {
            let [stdin, stdout, stderr] = process.io.child_stdio();
            let null_or = |fd: Option<std::os::fd::OwnedFd>| fd.map_or_else(ChildStdio::null, ChildStdio::from);
            command.stdin(null_or(stdin)).stdout(null_or(stdout)).stderr(null_or(stderr));
            None
        };
        command.arg(&key.container);
        let mark = runc.log_mark();
        let key = key.clone();
        self.begin_launch();
        self.run_child(command, output, deadline, move |shim, result| {
            let result = match result {
                Ok(()) => shim.attach(&key).and_then(|()| read_pid(&pid_file)),
                Err(error) => Err(runtime_error(&runc, mark, message, &error)),
            };
            let early = shim.end_launch(result.as_ref().ok().copied());
            if let Ok(pid) = result {
                shim.pids.insert(pid, key.clone());
            }
            let pid = result.as_ref().ok().copied();
            then(shim, result);
            if let (Some(pid), Some(status)) = (pid, early) {
                shim.process_ended(pid, status);
            }
        });
    }

    /// Connects the stdio of a process the runtime has just made.
    fn attach(&mut self, key: &ProcessKey) -> Result<()> {
        let Ok(process) =
            self.containers.get_mut(&key.container).ok_or(()).and_then(|c| c.process(&key.exec).map_err(drop))
        else {
            return Ok(());
        };
        if let Some(socket) = process.io.console.take() {
            let master = socket.receive().map_err(|error| Error::io("failed to retrieve console master", error))?;
            process.io.master = Some(master);
        }
        self.start_relays(key).map_err(|error| error.context("failed to start io copy"))
    }

    /// Gives up the stdio of a process that came to nothing.
    pub(super) fn discard_io(&mut self, key: &ProcessKey) {
        self.end_relays(key);
        if let Some(container) = self.containers.get_mut(&key.container)
            && let Ok(process) = container.process(&key.exec)
        {
            process.io = crate::io::ProcessIo::default();
        }
    }
}

/// Where the runtime writes the process id.
pub(super) fn pid_file(bundle: &Path, key: &ProcessKey) -> PathBuf {
    bundle.join(if key.is_init() { "init.pid".to_owned() } else { format!("{}.pid", key.exec) })
}

fn read_pid(path: &Path) -> Result<u32> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::io("failed to retrieve OCI runtime container pid", error))?;
    text.trim().parse().ok().filter(|&pid| pid > 0).ok_or_else(|| {
        log::warning!("{}: {text:?}", path.display());
        Error::unknown("failed to retrieve OCI runtime container pid: malformed pid file")
    })
}
