//! The questions: `State`, `Pids`, `Stats`, `Connect`; and `Shutdown`.

use super::State;
use super::process::any;
use crate::shim::Shim;
use crate::stats;
use model::{Error, Result};
use proto::api::containerd::runc::v1::ProcessDetails;
use proto::api::containerd::v1::types::{ProcessInfo, Status};
use proto::shim::containerd::task::v3::{
    ConnectRequest, ConnectResponse, PidsRequest, PidsResponse, ShutdownRequest, StateRequest, StateResponse,
    StatsRequest, StatsResponse,
};

impl Shim {
    pub(super) fn state(&mut self, request: &StateRequest) -> Result<StateResponse> {
        let container = self.container(&request.id)?;
        let bundle = container.bundle.to_string_lossy().into_owned();
        let (frozen, freezing) = (container.init.state == State::Paused, container.init.is_pausing);
        let process = container.process(&request.exec_id)?;
        let status = match process.state {
            State::Stopped if !request.exec_id.is_empty() && !frozen => Status::Stopped,
            // All processes of a container are frozen with it.
            _ if freezing => Status::Pausing,
            _ if frozen => Status::Paused,
            State::Created | State::Restorable => Status::Created,
            State::Running | State::Paused => Status::Running,
            State::Stopped => Status::Stopped,
        };
        let id = if request.exec_id.is_empty() { &request.id } else { &request.exec_id };
        Ok(StateResponse {
            id: id.clone(),
            bundle,
            pid: process.pid,
            status: status.into(),
            stdin: process.stdio.stdin.clone(),
            stdout: process.stdio.stdout.clone(),
            stderr: process.stdio.stderr.clone(),
            terminal: process.stdio.terminal,
            exit_status: process.exit_status(),
            exited_at: process.exited_at(),
            exec_id: String::new(),
        })
    }

    pub(super) fn list_pids(&mut self, request: &PidsRequest) -> Result<PidsResponse> {
        let container = self.container(&request.id)?;
        let pids = match &container.cgroup {
            None => Vec::new(),
            Some(cgroup) => match cgroup.processes() {
                Err(error) if sys::cgroup::is_gone(&error) => Vec::new(),
                pids => pids.map_err(|error| Error::io(format!("list processes of {}", request.id), error))?,
            },
        };
        let details = |pid| {
            let exec = container.execs.iter().find(|(_, process)| process.pid == pid && process.exit.is_none())?;
            Some(any(&ProcessDetails { exec_id: exec.0.clone() }))
        };
        Ok(PidsResponse { processes: pids.into_iter().map(|pid| ProcessInfo { pid, info: details(pid) }).collect() })
    }

    pub(super) fn stats(&mut self, request: &StatsRequest) -> Result<StatsResponse> {
        let container = self.container(&request.id)?;
        let cgroup = container.cgroup.as_ref().ok_or_else(|| Error::not_found("cgroup does not exist: not found"))?;
        Ok(StatsResponse { stats: Some(stats::read(cgroup)) })
    }

    // An unknown container is no error here: this is how the daemon finds out about the shim.
    pub(super) fn connect(&mut self, request: &ConnectRequest) -> Result<ConnectResponse> {
        let task_pid = self.container(&request.id).map_or(0, |container| container.init.pid);
        Ok(ConnectResponse { shim_pid: std::process::id(), task_pid, version: String::new() })
    }

    /// Ends the shim, unless it still has containers of its group.
    #[allow(clippy::unnecessary_wraps, reason = "as all methods")]
    pub(super) fn shutdown(&mut self, _request: &ShutdownRequest) -> Result<()> {
        if self.containers.is_empty() {
            self.stop();
        }
        Ok(())
    }
}
