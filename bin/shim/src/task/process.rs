//! Containers and their processes, as the shim remembers them.

use crate::io::ProcessIo;
use crate::runc::Runc;
use crate::shim::{Reply, Step};
use model::{Error, Result};
use proto::Any;
use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};
use sys::cgroup::{Cgroup, OomWatch};

/// Names a process: its container, and its exec id (empty for the first process).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct ProcessKey {
    pub(crate) container: String,
    pub(crate) exec: String,
}

impl ProcessKey {
    pub(crate) fn init(container: &str) -> Self {
        Self { container: container.to_owned(), exec: String::new() }
    }

    pub(crate) fn is_init(&self) -> bool {
        self.exec.is_empty()
    }

    /// The id a logger and the `id` of an exit event name the process by.
    pub(crate) fn id(&self) -> &str {
        if self.is_init() { &self.container } else { &self.exec }
    }
}

/// Where a process is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    Created,
    /// Created from a checkpoint: there is no process before `Start`.
    Restorable,
    Running,
    Paused,
    Stopped,
}

/// How and when a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Exit {
    pub(crate) status: u32,
    pub(crate) at: prost_types::Timestamp,
}

impl Exit {
    pub(crate) fn now(status: u32) -> Self {
        Self { status, at: now() }
    }
}

/// The present as the wire has it.
pub(crate) fn now() -> prost_types::Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    prost_types::Timestamp {
        seconds: i64::try_from(since.as_secs()).unwrap_or(i64::MAX),
        nanos: i32::try_from(since.subsec_nanos()).unwrap_or(0),
    }
}

/// What Go's zero time looks like on the wire; clients turn it back into "not yet".
const NEVER: prost_types::Timestamp = prost_types::Timestamp { seconds: -62_135_596_800, nanos: 0 };

/// The stdio a client asked for, as it asked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stdio {
    pub(crate) stdin: String,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
    pub(crate) terminal: bool,
}

/// One process of a container.
pub(crate) struct Process {
    /// Its process id; 0 before there is one.
    pub(crate) pid: u32,
    pub(crate) state: State,
    pub(crate) is_pausing: bool,
    /// Whether a `Start` is under way: its event comes before that of the exit.
    pub(crate) is_starting: bool,
    /// An exit that waits for `Start` to be done.
    pub(crate) early_exit: Option<Exit>,
    /// Set when the exit is published.
    pub(crate) exit: Option<Exit>,
    pub(crate) stdio: Stdio,
    pub(crate) io: ProcessIo,
    /// Answered at exit.
    pub(crate) waiters: Vec<Reply>,
    /// Whether a `Delete` is under way.
    pub(crate) is_deleting: bool,
    /// The OCI process of an exec, as JSON; empty for a first process.
    pub(crate) spec: Vec<u8>,
}

impl Process {
    pub(crate) fn new(stdio: Stdio, state: State) -> Self {
        Self {
            pid: 0,
            state,
            is_pausing: false,
            is_starting: false,
            early_exit: None,
            exit: None,
            stdio,
            io: ProcessIo::default(),
            waiters: Vec::new(),
            is_deleting: false,
            spec: Vec::new(),
        }
    }

    /// Exit status for responses: 0 until it has ended.
    pub(crate) fn exit_status(&self) -> u32 {
        self.exit.map_or(0, |exit| exit.status)
    }

    /// Exit time for responses.
    pub(crate) fn exited_at(&self) -> Option<prost_types::Timestamp> {
        Some(self.exit.map_or(NEVER, |exit| exit.at))
    }
}

/// What `Start` of a restored container gives to the runtime.
#[derive(Clone, Debug)]
pub(crate) struct Restore {
    pub(crate) image: String,
    pub(crate) parent: String,
    pub(crate) work: PathBuf,
}

/// A container.
pub(crate) struct Container {
    pub(crate) bundle: PathBuf,
    pub(crate) runc: Runc,
    pub(crate) options: proto::api::containerd::runc::v1::Options,
    /// Visible to all methods only from here on.
    pub(crate) is_created: bool,
    pub(crate) init: Process,
    pub(crate) execs: BTreeMap<String, Process>,
    pub(crate) cgroup: Option<Cgroup>,
    pub(crate) oom: Option<(u64, OomWatch)>,
    /// Memory ran out while `Start` was under way, whose event comes first.
    pub(crate) has_early_oom: bool,
    /// Whether the kernel ends all its processes with the first.
    pub(crate) has_own_pid_namespace: bool,
    /// Execs that are being started or run.
    pub(crate) running_execs: usize,
    /// The first process has ended, but this is published after the execs' exits.
    pub(crate) held_exit: Option<Exit>,
    /// Whether leftovers outside a pid namespace of its own have been killed.
    pub(crate) is_swept: bool,
    pub(crate) restore: Option<Restore>,
    /// See `Shim::lock`.
    pub(crate) locked: bool,
    pub(crate) waiting: VecDeque<Step>,
}

impl Container {
    /// The process `exec`; empty is the first.
    pub(crate) fn process(&mut self, exec: &str) -> Result<&mut Process> {
        if exec.is_empty() {
            return Ok(&mut self.init);
        }
        self.execs.get_mut(exec).ok_or_else(|| Error::not_found(format!("process does not exist {exec}: not found")))
    }

    /// Drops the waiters of a connection that has gone.
    pub(crate) fn forget_waiters(&mut self, gone: impl Fn(&Reply) -> bool) {
        for process in self.execs.values_mut().chain([&mut self.init]) {
            process.waiters.retain(|reply| !gone(reply));
        }
    }
}

/// `message` as containerd's `Any`, named without a prefix.
pub(crate) fn any<M: prost::Name>(message: &M) -> Any {
    Any { type_url: M::full_name(), value: message.encode_to_vec() }
}
