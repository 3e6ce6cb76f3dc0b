//! The end of a process, and the order of its events.
//!
//! A start is published before its exit; an OOM before the exit it led to; the exits of
//! execs before that of the first process, which is held back until they are out.

use super::{Exit, ProcessKey, State};
use crate::events;
use crate::log;
use crate::shim::{Reply, Shim};
use model::{Error, Result};
use proto::api::containerd::events::TaskExit;
use proto::shim::containerd::task::v3::{WaitRequest, WaitResponse};
use std::time::Duration;

/// The status of a process nobody knows the status of, as containerd has it.
const UNKNOWN_STATUS: u32 = 255;

impl Shim {
    pub(super) fn wait(&mut self, reply: Reply, request: WaitRequest, timeout: Option<Duration>) -> Result<()> {
        let process = self.process(&request.id, &request.exec_id)?;
        if let Some(exit) = process.exit {
            let response = WaitResponse { exit_status: exit.status, exited_at: Some(exit.at) };
            self.respond(reply, Ok(response));
            return Ok(());
        }
        process.waiters.push(reply);
        if let Some(timeout) = timeout {
            self.after(timeout, move |shim| shim.give_up_waiting(reply, &request));
        }
        Ok(())
    }

    fn give_up_waiting(&mut self, reply: Reply, request: &WaitRequest) {
        let Ok(process) = self.process(&request.id, &request.exec_id) else { return };
        let before = process.waiters.len();
        process.waiters.retain(|waiter| *waiter != reply);
        if process.waiters.len() < before {
            self.respond::<()>(reply, Err(Error::deadline_exceeded("context deadline exceeded")));
        }
    }

    /// The kernel says that process `pid` of a container has ended.
    pub(crate) fn process_ended(&mut self, pid: u32, status: u32) {
        let Some(key) = self.pids.remove(&pid) else { return };
        let exit = Exit::now(status);
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        let Ok(process) = container.process(&key.exec) else { return };
        if process.is_starting {
            process.early_exit = Some(exit);
        } else if key.is_init() {
            self.init_ended(&key.container, exit);
        } else {
            self.exec_ended(&key, exit);
        }
    }

    /// The first process has ended: no exec starts from here on, the rest is killed where
    /// the kernel does not do that, and then the execs' exits are waited for.
    pub(super) fn init_ended(&mut self, id: &str, exit: Exit) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.held_exit = Some(exit);
        container.is_swept = container.has_own_pid_namespace;
        if container.is_swept {
            return self.release_exit(id);
        }
        let id = id.to_owned();
        self.lock(&id.clone(), move |shim| {
            let Some(container) = shim.containers.get(&id) else { return };
            let mut command = container.runc.command();
            command.args(["kill", "--all"]).arg(&id).arg(libc::SIGKILL.to_string());
            shim.call_unasked(command, move |shim, result| {
                if let Err(error) = result {
                    log::warning!("{id}: failed to kill init's children: {error}");
                }
                shim.unlock(&id);
                if let Some(container) = shim.containers.get_mut(&id) {
                    container.is_swept = true;
                }
                shim.release_exit(&id);
            });
        });
    }

    fn exec_ended(&mut self, key: &ProcessKey, exit: Exit) {
        // A kill for lack of memory may have hit the exec alone.
        self.memory_event(&key.container);
        self.publish_exit(key, exit);
        if let Some(container) = self.containers.get_mut(&key.container) {
            container.running_execs = container.running_execs.saturating_sub(1);
        }
        self.release_exit(&key.container);
    }

    /// An exec that failed to start: it holds back nothing, and whoever waits is told.
    pub(super) fn exec_never_ran(&mut self, key: &ProcessKey) {
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        container.running_execs = container.running_execs.saturating_sub(1);
        if let Ok(process) = container.process(&key.exec) {
            process.state = State::Stopped;
            process.exit = Some(Exit::now(UNKNOWN_STATUS));
            self.answer_waiters(key);
        }
        self.release_exit(&key.container);
    }

    /// Publishes the exit of the first process if nothing holds it back any more.
    fn release_exit(&mut self, id: &str) {
        let Some(container) = self.containers.get_mut(id) else { return };
        if container.running_execs > 0 || !container.is_swept {
            return;
        }
        let Some(exit) = container.held_exit.take() else { return };
        let was_paused = container.init.state == State::Paused;
        self.memory_event(id);
        self.remove_oom_watch(id);
        self.publish_exit(&ProcessKey::init(id), exit);
        if was_paused {
            // Else its cgroup stays frozen and cannot be removed.
            self.thaw(id);
        }
    }

    fn publish_exit(&mut self, key: &ProcessKey, exit: Exit) {
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        let bundle = container.bundle.clone();
        let Ok(process) = container.process(&key.exec) else { return };
        process.state = State::Stopped;
        process.exit = Some(exit);
        let pid = process.pid;
        self.finish_relays(key);
        if key.is_init()
            && let Err(error) = events::record_exit(&bundle, pid, exit)
        {
            log::warning!("{}: record exit: {error}", key.container);
        }
        self.publish_event(
            events::EXIT,
            &TaskExit {
                container_id: key.container.clone(),
                id: key.id().to_owned(),
                pid,
                exit_status: exit.status,
                exited_at: Some(exit.at),
            },
        );
        self.answer_waiters(key);
    }

    fn answer_waiters(&mut self, key: &ProcessKey) {
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        let Ok(process) = container.process(&key.exec) else { return };
        let response = WaitResponse { exit_status: process.exit_status(), exited_at: process.exited_at() };
        for reply in std::mem::take(&mut process.waiters) {
            self.respond(reply, Ok(response));
        }
        self.continue_delete(key);
    }
}
