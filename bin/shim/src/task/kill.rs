//! `Kill`: of one process by a signal of ours, of all or of a frozen one through runc.

use super::State;
use crate::shim::{CallError, Reply, Shim};
use model::{Error, Result};
use proto::shim::containerd::task::v3::KillRequest;

impl Shim {
    pub(super) fn kill(&mut self, reply: Reply, request: KillRequest) -> Result<()> {
        let container = self.container(&request.id)?;
        let ended = container.held_exit.is_some() && request.exec_id.is_empty();
        let process = container.process(&request.exec_id)?;
        if !request.exec_id.is_empty() {
            if process.pid == 0 {
                return Err(Error::failed_precondition("process not created: failed precondition"));
            }
            signal(process.pid, request.signal, process.exit.is_some())?;
            self.respond(reply, Ok(()));
            return Ok(());
        }
        let alone = !request.all && process.pid != 0 && process.state != State::Paused;
        if alone {
            // The process is our child, so its number is its own until we reap it.
            signal(process.pid, request.signal, ended || process.exit.is_some())?;
            self.respond(reply, Ok(()));
            return Ok(());
        }
        let id = request.id.clone();
        self.lock(&id, move |shim| shim.run_kill(reply, &request));
        Ok(())
    }

    fn run_kill(&mut self, reply: Reply, request: &KillRequest) {
        let id = request.id.clone();
        let mut command = match self.container(&id) {
            Ok(container) => container.runc.command(),
            Err(error) => return self.respond::<()>(reply, Err(error)),
        };
        command.arg("kill");
        if request.all {
            command.arg("--all");
        }
        command.arg(&id).arg(request.signal.to_string());
        self.call(command, reply.deadline, move |shim, result| {
            shim.unlock(&id);
            shim.respond(reply, result.map_err(|error| kill_error(&error)));
        });
    }
}

fn signal(pid: u32, signal: u32, ended: bool) -> Result<()> {
    let finished = || Error::not_found("process already finished: not found");
    if ended {
        return Err(finished());
    }
    sys::process::kill(pid, signal).map_err(|error| match error.raw_os_error() {
        Some(libc::ESRCH) => finished(),
        Some(libc::EINVAL) => Error::invalid_argument(format!("invalid signal {signal}")),
        _ => Error::unknown(format!("unknown error after kill: {error}")),
    })
}

/// Go's reading of what the runtime prints.
fn kill_error(error: &CallError) -> Error {
    let text = error.to_string();
    let finished = ["os: process already finished", "container not running"];
    if finished.iter().any(|part| text.contains(part)) || text.to_lowercase().contains("no such process") {
        Error::not_found("process already finished: not found")
    } else if text.contains("does not exist") {
        Error::not_found("no such container: not found")
    } else {
        Error::unknown(format!("unknown error after kill: {text}"))
    }
}
