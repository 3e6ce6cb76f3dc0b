//! The stdio of processes: what a client asked for, opened, and copied by the event loop.
//!
//! ```text
//! process ─pipe─▶ relay ─▶ client's fifo or file       process ◀─pipe─ relay ◀─ client's fifo
//! process ─pty──▶ relay ─▶ client's fifo or file       process ─pipe─▶ logger (a child of ours)
//! ```
//!
//! A pipe stands between the process and the client's fifo so that the client may go away
//! and come back, and so that descendants which outlive the process do not hold the fifo.

mod console;
mod open;
mod relay;
mod target;

pub(crate) use console::ConsoleSocket;
pub(crate) use open::{open_stdin, open_stdio, pipe};
pub(crate) use relay::{Progress, Relay, Side, Sink};
pub(crate) use target::{Logger, Target};

use crate::shim::Step;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

/// A relay to start once there is a process; `None` stands for its terminal.
#[derive(Debug)]
pub(crate) enum Plan {
    Output {
        from: Option<OwnedFd>,
        to: Sink,
    },
    /// The path is opened only then: that is when the client's own opening succeeds.
    Input {
        from: PathBuf,
        to: Option<OwnedFd>,
    },
}

/// The stdio of one process.
#[derive(Default)]
pub(crate) struct ProcessIo {
    /// The process's own ends; absent ones are `/dev/null`.
    pub(crate) child: [Option<OwnedFd>; 3],
    pub(crate) plans: Vec<Plan>,
    /// Keeps stdin open between clients, until `CloseIO`.
    pub(crate) stdin_writer: Option<OwnedFd>,
    pub(crate) is_stdin_closed: bool,
    pub(crate) console: Option<ConsoleSocket>,
    /// The terminal, for resizing.
    pub(crate) master: Option<OwnedFd>,
    /// Relays at work, by token.
    pub(crate) relays: Vec<u64>,
    /// The logger at work, by process id.
    pub(crate) logger: Option<u32>,
    /// What waits for the last relay and the logger to end.
    pub(crate) on_drained: Option<Step>,
    /// What waits for the exit of the process.
    pub(crate) on_exit: Option<Step>,
}

impl ProcessIo {
    /// Takes the ends for the child; ours go with them when the child has started.
    pub(crate) fn child_stdio(&mut self) -> [Option<OwnedFd>; 3] {
        std::mem::take(&mut self.child)
    }

    /// Whether nothing is left to copy.
    pub(crate) fn is_drained(&self) -> bool {
        self.relays.is_empty() && self.logger.is_none()
    }
}
