//! `Update`: new limits for a container, given as OCI JSON to `runc update`.

use super::{State, runtime_error};
use crate::shim::{Reply, Shim};
use model::{Error, Result};
use proto::shim::containerd::task::v3::UpdateTaskRequest;
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create, seek};
use std::os::fd::OwnedFd;
use std::process::Stdio;

impl Shim {
    pub(super) fn update(&mut self, reply: Reply, request: UpdateTaskRequest) -> Result<()> {
        self.container(&request.id)?;
        let json = request.resources.map(|any| any.value).unwrap_or_default();
        if serde_json::from_slice::<serde_json::Map<String, serde_json::Value>>(&json).is_err() {
            return Err(Error::invalid_argument(format!("resources for {} are not OCI JSON", request.id)));
        }
        let stdin = in_memory(&json).map_err(|error| Error::io("keep resources in memory", error))?;
        let id = request.id;
        self.lock(&id.clone(), move |shim| shim.run_update(reply, id, stdin));
        Ok(())
    }

    fn run_update(&mut self, reply: Reply, id: String, stdin: OwnedFd) {
        let runc = match self.container(&id) {
            Ok(container) if container.init.state != State::Stopped => container.runc.clone(),
            other => {
                let error = other.err().unwrap_or_else(|| Error::unknown("cannot update a stopped container"));
                self.unlock(&id);
                return self.respond::<()>(reply, Err(error));
            }
        };
        let mut command = runc.command();
        command.args(["update", "--resources=-"]).arg(&id).stdin(Stdio::from(stdin));
        let mark = runc.log_mark();
        self.call(command, reply.deadline, move |shim, result| {
            shim.unlock(&id);
            let result = result.map_err(|error| runtime_error(&runc, mark, "OCI runtime update failed", &error));
            shim.respond(reply, result);
        });
    }
}

/// `bytes` as a file to be read from its start.
fn in_memory(bytes: &[u8]) -> std::io::Result<OwnedFd> {
    let file = memfd_create("resources", MemfdFlags::CLOEXEC)?;
    let mut rest = bytes;
    while !rest.is_empty() {
        let written = rustix::io::write(&file, rest)?;
        rest = &rest[written..];
    }
    seek(&file, SeekFrom::Start(0))?;
    Ok(file)
}
