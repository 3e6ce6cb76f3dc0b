//! `Exec`: another process for a container, known from here on and run by `Start`.

use super::{Process, State, Stdio};
use crate::events;
use crate::identity::check_name;
use crate::shim::Shim;
use model::{Error, Result};
use proto::api::containerd::events::TaskExecAdded;
use proto::shim::containerd::task::v3::ExecProcessRequest;

impl Shim {
    pub(super) fn exec(&mut self, request: &ExecProcessRequest) -> Result<()> {
        let container = self.container(&request.id)?;
        check_name("exec", &request.exec_id)?;
        if container.execs.contains_key(&request.exec_id) {
            return Err(Error::already_exists(format!("id {}: already exists", request.exec_id)));
        }
        match container.init.state {
            State::Created | State::Running => {}
            State::Restorable => return Err(Error::unknown("cannot exec in a created state")),
            State::Paused => return Err(Error::unknown("cannot exec in a paused state")),
            State::Stopped => return Err(Error::unknown("cannot exec in a stopped state")),
        }
        let spec = request.spec.as_ref().map(|any| any.value.as_slice()).unwrap_or_default();
        let spec = with_terminal(spec, request.terminal).map_err(|error| {
            Error::invalid_argument(format!("process spec of exec {}", request.exec_id)).caused_by(error)
        })?;
        let stdio = Stdio {
            stdin: request.stdin.clone(),
            stdout: request.stdout.clone(),
            stderr: request.stderr.clone(),
            terminal: request.terminal,
        };
        let mut process = Process::new(stdio, State::Created);
        process.spec = spec;
        container.execs.insert(request.exec_id.clone(), process);
        let (container_id, exec_id) = (request.id.clone(), request.exec_id.clone());
        self.publish_event(events::EXEC_ADDED, &TaskExecAdded { container_id, exec_id });
        Ok(())
    }
}

/// The OCI process as it came, but for `terminal`, where the request has the last word.
fn with_terminal(json: &[u8], terminal: bool) -> serde_json::Result<Vec<u8>> {
    let mut spec: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(json)?;
    spec.insert("terminal".into(), terminal.into());
    serde_json::to_vec(&spec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_fields_survive_and_terminal_is_set() {
        let json = with_terminal(br#"{"args":["a"],"terminal":true,"future":{"x":1}}"#, false).unwrap();
        let value: serde_json::Value = serde_json::from_slice(&json).unwrap();
        assert_eq!(value["terminal"], false);
        assert_eq!(value["future"]["x"], 1);
        assert!(with_terminal(b"[]", true).is_err());
    }
}
