//! `Delete`: of an exec, and of a container once its first process has ended.

use super::launch::pid_file;
use super::{ProcessKey, State, runtime_error};
use crate::events;
use crate::log;
use crate::rootfs;
use crate::shim::{Reply, Shim};
use model::{Error, Result};
use proto::api::containerd::events::TaskDelete;
use proto::shim::containerd::task::v3::{DeleteRequest, DeleteResponse};
use std::time::Duration;

/// How long output may still be read after the process has ended, as in Go's shim.
const DRAIN: Duration = Duration::from_secs(10);

/// How long the exit of a process just killed by `runc delete` is waited for.
const EXIT: Duration = Duration::from_secs(5);

impl Shim {
    pub(super) fn delete(&mut self, reply: Reply, request: DeleteRequest) -> Result<()> {
        let process = self.process(&request.id, &request.exec_id)?;
        let key = ProcessKey { container: request.id, exec: request.exec_id };
        match process.state {
            State::Running => return Err(Error::unknown("cannot delete a running process")),
            State::Paused => return Err(Error::unknown("cannot delete a paused process")),
            _ if process.is_starting => return Err(Error::unknown("cannot delete a running process")),
            _ if process.is_deleting => {
                return Err(Error::not_found("cannot delete a deleted process: not found"));
            }
            State::Created | State::Restorable | State::Stopped => {}
        }
        process.is_deleting = true;
        let target = key.clone();
        let drained = move |shim: &mut Self| {
            if key.is_init() {
                let id = key.container.clone();
                shim.lock(&key.container, move |shim| shim.delete_container(reply, id));
            } else {
                shim.delete_exec(reply, &key);
            }
        };
        self.when_drained(&target, DRAIN, drained);
        Ok(())
    }

    fn delete_exec(&mut self, reply: Reply, key: &ProcessKey) {
        self.discard_io(key);
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        let _absent = std::fs::remove_file(pid_file(&container.bundle, key));
        let Some(process) = container.execs.remove(&key.exec) else { return };
        let response =
            DeleteResponse { pid: process.pid, exit_status: process.exit_status(), exited_at: process.exited_at() };
        self.respond(reply, Ok(response));
    }

    fn delete_container(&mut self, reply: Reply, id: String) {
        let Some(container) = self.containers.get(&id) else { return };
        let runc = container.runc.clone();
        let mut command = runc.command();
        command.arg("delete").arg(&id);
        let mark = runc.log_mark();
        self.call(command, reply.deadline, move |shim, result| {
            // After a checkpoint runc has deleted the container itself.
            let result = match result {
                Err(error) if error.output().contains("does not exist") => Ok(()),
                Err(error) => Err(runtime_error(&runc, mark, "failed to delete task", &error)),
                Ok(()) => Ok(()),
            };
            shim.unlock(&id);
            if let Err(error) = result {
                if let Some(container) = shim.containers.get_mut(&id) {
                    container.init.is_deleting = false;
                }
                return shim.respond::<()>(reply, Err(error));
            }
            shim.when_exited(reply, id);
        });
    }

    /// `runc delete` kills a container that was never started; its exit comes before the
    /// deletion, as for all others.
    fn when_exited(&mut self, reply: Reply, id: String) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        if container.init.exit.is_some() || container.init.pid == 0 {
            return self.deleted(reply, &id);
        }
        let target = id.clone();
        container.init.io.on_exit = Some(Box::new(move |shim| shim.deleted(reply, &id)));
        self.after(EXIT, move |shim| shim.continue_delete(&ProcessKey::init(&target)));
    }

    /// Goes on with a deletion that waits for the exit of the first process.
    pub(super) fn continue_delete(&mut self, key: &ProcessKey) {
        if key.is_init()
            && let Some(container) = self.containers.get_mut(&key.container)
            && let Some(step) = container.init.io.on_exit.take()
        {
            self.soon(step);
        }
    }

    fn deleted(&mut self, reply: Reply, id: &str) {
        let execs: Vec<String> = match self.containers.get(id) {
            Some(container) => container.execs.keys().cloned().collect(),
            None => return,
        };
        for exec in execs {
            self.discard_io(&ProcessKey { container: id.to_owned(), exec });
        }
        self.discard_io(&ProcessKey::init(id));
        self.remove_oom_watch(id);
        let Some(container) = self.containers.remove(id) else { return };
        if let Err(error) = rootfs::unmount(&container.bundle) {
            log::warning!("{id}: {error}");
        }
        self.pids.retain(|_, key| key.container != id);
        let response = DeleteResponse {
            pid: container.init.pid,
            exit_status: container.init.exit_status(),
            exited_at: container.init.exited_at(),
        };
        self.publish_event(
            events::DELETE,
            &TaskDelete {
                container_id: id.to_owned(),
                pid: response.pid,
                exit_status: response.exit_status,
                exited_at: response.exited_at,
                id: String::new(),
            },
        );
        self.respond(reply, Ok(response));
        for step in container.waiting {
            self.soon(step);
        }
    }
}
