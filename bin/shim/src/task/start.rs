//! `Start`: of a created container, of a restored one, and of an exec.

use super::{ProcessKey, State, runtime_error};
use crate::events;
use crate::log;
use crate::shim::{Reply, Shim};
use model::{Error, Result};
use proto::api::containerd::events::{TaskExecStarted, TaskStart};
use proto::shim::containerd::task::v3::{StartRequest, StartResponse};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

impl Shim {
    pub(super) fn start(&mut self, reply: Reply, request: StartRequest) -> Result<()> {
        let container = self.container(&request.id)?;
        let key = ProcessKey { container: request.id, exec: request.exec_id };
        if key.is_init() {
            let id = key.container.clone();
            self.lock(&id, move |shim| shim.start_init(reply, &key));
            return Ok(());
        }
        container.process(&key.exec)?;
        if container.held_exit.is_some() || container.init.exit.is_some() {
            return Err(Error::failed_precondition(format!(
                "container {} init process is not running: failed precondition",
                key.container
            )));
        }
        self.start_exec(reply, key)
    }

    fn start_init(&mut self, reply: Reply, key: &ProcessKey) {
        let id = key.container.clone();
        let state = match self.process(&id, "") {
            Ok(process) => process.state,
            Err(error) => return self.locked_answer(reply, &id, Err(error)),
        };
        match state {
            State::Created => self.run_start(reply, id),
            State::Restorable => self.run_restore(reply, key),
            State::Running => self.locked_answer(reply, &id, Err(Error::unknown("cannot start a running process"))),
            State::Paused => self.locked_answer(reply, &id, Err(Error::unknown("cannot start a paused process"))),
            State::Stopped => self.locked_answer(reply, &id, Err(Error::unknown("cannot start a stopped process"))),
        }
    }

    fn locked_answer(&mut self, reply: Reply, id: &str, result: Result<StartResponse>) {
        self.unlock(id);
        self.respond(reply, result);
    }

    fn run_start(&mut self, reply: Reply, id: String) {
        let Some(container) = self.containers.get_mut(&id) else { return };
        container.init.is_starting = true;
        self.start_input_or_warn(&ProcessKey::init(&id));
        let Some(container) = self.containers.get_mut(&id) else { return };
        let runc = container.runc.clone();
        let mut command = runc.command();
        command.arg("start").arg(&id);
        let mark = runc.log_mark();
        self.call(command, reply.deadline, move |shim, result| {
            let result = result.map_err(|error| runtime_error(&runc, mark, "OCI runtime start failed", &error));
            shim.started_init(reply, &id, result);
        });
    }

    fn run_restore(&mut self, reply: Reply, key: &ProcessKey) {
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        let Some(restore) = container.restore.clone() else { return };
        container.init.is_starting = true;
        let mut arguments = vec!["restore".to_owned(), "--image-path".to_owned(), restore.image];
        arguments.extend(["--work-path".to_owned(), restore.work.to_string_lossy().into_owned()]);
        if !restore.parent.is_empty() {
            arguments.extend(["--parent-path".to_owned(), restore.parent]);
        }
        if container.options.no_pivot_root {
            arguments.push("--no-pivot".into());
        }
        arguments.extend(["--detach", "--no-subreaper", "--bundle"].map(str::to_owned));
        arguments.push(container.bundle.to_string_lossy().into_owned());
        let id = key.container.clone();
        self.launch(key, &arguments, reply.deadline, "OCI runtime restore failed", move |shim, result| {
            if let (Ok(pid), Some(container)) = (&result, shim.containers.get_mut(&id)) {
                container.init.pid = *pid;
                shim.watch_memory(&id);
            }
            shim.started_init(reply, &id, result.map(drop));
        });
    }

    /// The event of the start comes first, then those of what happened meanwhile.
    fn started_init(&mut self, reply: Reply, id: &str, result: Result<()>) {
        let Some(container) = self.containers.get_mut(id) else { return };
        container.init.is_starting = false;
        let (pid, early) = (container.init.pid, container.init.early_exit.take());
        let oom = std::mem::take(&mut container.has_early_oom);
        if result.is_ok() {
            container.init.state = State::Running;
            self.publish_event(events::START, &TaskStart { container_id: id.to_owned(), pid });
        }
        if oom {
            self.publish_oom(id);
        }
        self.locked_answer(reply, id, result.map(|()| StartResponse { pid }));
        if let Some(exit) = early {
            self.init_ended(id, exit);
        }
    }

    fn start_exec(&mut self, reply: Reply, key: ProcessKey) -> Result<()> {
        let container = self.container(&key.container)?;
        let process = container.process(&key.exec)?;
        match process.state {
            _ if process.is_starting => return Err(Error::unknown("cannot start a running process")),
            State::Created => {}
            State::Stopped => return Err(Error::unknown("cannot start a stopped process")),
            _ => return Err(Error::unknown("cannot start a running process")),
        }
        process.is_starting = true;
        container.running_execs += 1;
        let target = key.clone();
        self.prepare_io(&target, move |shim, result| match result {
            Ok(()) => shim.run_exec(reply, key),
            Err(error) => {
                let error = error.context("failed to create exec process I/O");
                shim.started_exec(reply, &key, Err(error));
            }
        });
        Ok(())
    }

    fn run_exec(&mut self, reply: Reply, key: ProcessKey) {
        let written = self.container(&key.container).and_then(|container| {
            let path = container.bundle.join(format!("{}.process.json", key.exec));
            write_spec(&path, &container.process(&key.exec)?.spec)?;
            Ok(path)
        });
        let spec = match written {
            Ok(path) => path,
            Err(error) => return self.started_exec(reply, &key, Err(error)),
        };
        let arguments = ["exec", "--process", &spec.to_string_lossy(), "--detach"].map(str::to_owned);
        let target = key.clone();
        self.launch(&target, &arguments, reply.deadline, "OCI runtime exec failed", move |shim, result| {
            remove_spec(&spec);
            shim.started_exec(reply, &key, result);
        });
    }

    fn started_exec(&mut self, reply: Reply, key: &ProcessKey, result: Result<u32>) {
        if result.is_err() {
            self.discard_io(key);
        }
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        let Ok(process) = container.process(&key.exec) else { return };
        process.is_starting = false;
        match &result {
            Ok(pid) => {
                process.pid = *pid;
                process.state = State::Running;
                let (container_id, exec_id) = (key.container.clone(), key.exec.clone());
                self.publish_event(events::EXEC_STARTED, &TaskExecStarted { container_id, exec_id, pid: *pid });
            }
            Err(_) => self.exec_never_ran(key),
        }
        self.respond(reply, result.map(|pid| StartResponse { pid }));
    }
}

fn write_spec(path: &Path, json: &[u8]) -> Result<()> {
    // It may hold secrets in its environment.
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(json))
        .map_err(|error| Error::io(format!("write {}", path.display()), error))
}

fn remove_spec(path: &PathBuf) {
    if let Err(error) = std::fs::remove_file(path) {
        log::warning!("remove {}: {error}", path.display());
    }
}
