//! `Pause` and `Resume`.

use super::{State, runtime_error};
use crate::events;
use crate::log;
use crate::shim::{Reply, Shim};
use model::{Error, Result};
use proto::api::containerd::events::{TaskPaused, TaskResumed};
use proto::shim::containerd::task::v3::{PauseRequest, ResumeRequest};

impl Shim {
    pub(super) fn pause(&mut self, reply: Reply, request: PauseRequest) -> Result<()> {
        self.container(&request.id)?;
        let id = request.id.clone();
        self.lock(&id, move |shim| {
            let check = |state| match state {
                State::Running => Ok(()),
                State::Created | State::Restorable => Err("cannot pause task in created state"),
                State::Paused => Err("cannot pause a paused container"),
                State::Stopped => Err("cannot pause a stopped container"),
            };
            shim.change(reply, request.id, "pause", check, |shim, id| {
                shim.publish_event(events::PAUSED, &TaskPaused { container_id: id.to_owned() });
            });
        });
        Ok(())
    }

    pub(super) fn resume(&mut self, reply: Reply, request: ResumeRequest) -> Result<()> {
        self.container(&request.id)?;
        let id = request.id.clone();
        self.lock(&id, move |shim| {
            let check = |state| match state {
                State::Paused => Ok(()),
                State::Created | State::Restorable => Err("cannot resume task in created state"),
                State::Running => Err("cannot resume a running process"),
                State::Stopped => Err("cannot resume a stopped container"),
            };
            shim.change(reply, request.id, "resume", check, |shim, id| {
                shim.publish_event(events::RESUMED, &TaskResumed { container_id: id.to_owned() });
            });
        });
        Ok(())
    }

    /// Calls `runc pause` or `runc resume` in the states that allow it, then `announce`s it.
    fn change(
        &mut self,
        reply: Reply,
        id: String,
        verb: &'static str,
        check: impl Fn(State) -> std::result::Result<(), &'static str>,
        announce: impl FnOnce(&mut Self, &str) + 'static,
    ) {
        let checked = self
            .container(&id)
            .and_then(|container| check(container.init.state).map(|()| container).map_err(Error::unknown));
        let container = match checked {
            Ok(container) => container,
            Err(error) => {
                self.unlock(&id);
                return self.respond::<()>(reply, Err(error));
            }
        };
        container.init.is_pausing = verb == "pause";
        let runc = container.runc.clone();
        let mut command = runc.command();
        command.arg(verb).arg(&id);
        let mark = runc.log_mark();
        self.call(command, reply.deadline, move |shim, result| {
            let message = if verb == "pause" { "OCI runtime pause failed" } else { "OCI runtime resume failed" };
            let result = result.map_err(|error| runtime_error(&runc, mark, message, &error));
            if let Some(container) = shim.containers.get_mut(&id) {
                container.init.is_pausing = false;
                // It may have been killed meanwhile, from outside.
                if result.is_ok() && container.init.exit.is_none() {
                    container.init.state = if verb == "pause" { State::Paused } else { State::Running };
                }
            }
            shim.unlock(&id);
            if result.is_ok() {
                announce(shim, &id);
            }
            shim.respond(reply, result);
        });
    }

    /// Thaws the cgroup of a container whose first process ended while it was paused.
    pub(super) fn thaw(&mut self, id: &str) {
        let id = id.to_owned();
        self.lock(&id.clone(), move |shim| {
            let Some(container) = shim.containers.get(&id) else { return };
            let mut command = container.runc.command();
            command.arg("resume").arg(&id);
            shim.call_unasked(command, move |shim, result| {
                if let Err(error) = result {
                    log::warning!("{id}: resuming exited container from paused state: {error}");
                }
                shim.unlock(&id);
            });
        });
    }
}
