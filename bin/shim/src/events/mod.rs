//! Events on their way to containerd: a queue that keeps each until it is acknowledged.

mod journal;
mod publisher;

pub(crate) use journal::unacknowledged;
pub(crate) use publisher::{ACKNOWLEDGE, Publisher, forward_request};

use crate::task::Exit;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::Path;

/// Topics, as in containerd's `core/runtime/events.go`.
pub(crate) const CREATE: &str = "/tasks/create";
pub(crate) const START: &str = "/tasks/start";
pub(crate) const OOM: &str = "/tasks/oom";
pub(crate) const EXIT: &str = "/tasks/exit";
pub(crate) const DELETE: &str = "/tasks/delete";
pub(crate) const EXEC_ADDED: &str = "/tasks/exec-added";
pub(crate) const EXEC_STARTED: &str = "/tasks/exec-started";
pub(crate) const PAUSED: &str = "/tasks/paused";
pub(crate) const RESUMED: &str = "/tasks/resumed";

const EXIT_FILE: &str = "exit.json";

/// How a container ended, for the `delete` action if this supervisor dies before `Delete`.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ExitRecord {
    pub(crate) pid: u32,
    pub(crate) status: u32,
    pub(crate) seconds: i64,
    pub(crate) nanos: i32,
}

/// Keeps the exit of a container in its bundle.
pub(crate) fn record_exit(bundle: &Path, pid: u32, exit: Exit) -> io::Result<()> {
    let record = ExitRecord { pid, status: exit.status, seconds: exit.at.seconds, nanos: exit.at.nanos };
    // One small write: it is there whole or not at all once the process is killed.
    std::fs::write(bundle.join(EXIT_FILE), serde_json::to_vec(&record)?)
}

/// What [`record_exit`] kept, if the container has ended.
pub(crate) fn recorded_exit(bundle: &Path) -> Option<ExitRecord> {
    serde_json::from_slice(&std::fs::read(bundle.join(EXIT_FILE)).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(recorded_exit(dir.path()), None);
        let exit = Exit { status: 7, at: prost_types::Timestamp { seconds: 9, nanos: 5 } };
        record_exit(dir.path(), 42, exit).unwrap();
        assert_eq!(recorded_exit(dir.path()), Some(ExitRecord { pid: 42, status: 7, seconds: 9, nanos: 5 }));
    }
}
