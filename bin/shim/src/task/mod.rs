//! The Task service: one file per verb or pair of verbs, over containers and processes.
//!
//! ```text
//!            Create          Start          exit             Delete
//! (nothing) ───────▶ created ─────▶ running ────▶ stopped ─────────▶ (nothing)
//!                       │            │   ▲           ▲
//!                       │      Pause ▼   │ Resume    │
//!                       │           paused ──────────┤ exit
//!                       └────────── exit ────────────┘
//! ```
//!
//! An exec goes the same way without being paused. The texts of errors are Go's, since
//! clients match some of them.

mod checkpoint;
mod create;
mod delete;
mod exec;
mod exit;
mod freeze;
mod inspect;
mod kill;
mod launch;
mod process;
mod start;
mod terminal;
mod update;

pub(crate) use process::{Container, Exit, Process, ProcessKey, State, Stdio, any, now};

use crate::runc::{LogMark, Runc};
use crate::shim::{CallError, Reply, Shim, decode};
use model::{Error, Result};
use proto::ttrpc::Request;

/// One service under two names, with the same messages.
const SERVICES: [&str; 2] = ["containerd.task.v3.Task", "containerd.task.v2.Task"];

impl Shim {
    /// Serves one request. An error of a method that has not answered yet is its answer.
    pub(crate) fn dispatch(&mut self, reply: Reply, request: &Request) {
        if !SERVICES.contains(&request.service.as_str()) {
            let error = Error::unimplemented(format!("service {}", request.service));
            return self.respond::<()>(reply, Err(error));
        }
        let payload = &request.payload;
        // These answer at once …
        macro_rules! answer {
            ($method:ident) => {{
                let result = decode(payload).and_then(|request| self.$method(&request));
                self.respond(reply, result);
                Ok(())
            }};
        }
        // … and these when runc, or the process, has ended.
        macro_rules! begin {
            ($method:ident) => {
                decode(payload).and_then(|request| self.$method(reply, request))
            };
        }
        let begun = match request.method.as_str() {
            "State" => answer!(state),
            "Create" => begin!(create),
            "Start" => begin!(start),
            "Delete" => begin!(delete),
            "Pids" => answer!(list_pids),
            "Pause" => begin!(pause),
            "Resume" => begin!(resume),
            "Checkpoint" => begin!(checkpoint),
            "Kill" => begin!(kill),
            "Exec" => answer!(exec),
            "ResizePty" => answer!(resize_pty),
            "CloseIO" => answer!(close_io),
            "Update" => begin!(update),
            "Wait" => decode(payload).and_then(|wait| self.wait(reply, wait, request.timeout())),
            "Stats" => answer!(stats),
            "Connect" => answer!(connect),
            "Shutdown" => answer!(shutdown),
            other => Err(Error::unimplemented(format!("method {other}"))),
        };
        if let Err(error) = begun {
            self.respond::<()>(reply, Err(error));
        }
    }

    /// The container `id`, once it is created.
    pub(crate) fn container(&mut self, id: &str) -> Result<&mut Container> {
        self.containers
            .get_mut(id)
            .filter(|container| container.is_created)
            .ok_or_else(|| Error::not_found("container not created: not found"))
    }

    /// The process `exec` of container `id`; an empty `exec` is the first process.
    pub(crate) fn process(&mut self, id: &str, exec: &str) -> Result<&mut Process> {
        self.container(id)?.process(exec)
    }
}

/// The error of a failed call of the runtime: what its log says, else what it printed.
fn runtime_error(runc: &Runc, mark: LogMark, message: &str, error: &CallError) -> Error {
    match runc.logged_error(mark) {
        Some(logged) => Error::unknown(format!("{message}: {logged}")),
        None => Error::unknown(format!("{message}: {error}")),
    }
}
