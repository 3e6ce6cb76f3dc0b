//! Learning that the kernel killed a process of a group for lack of memory.
//!
//! On v1 the kernel signals an eventfd; on v2 it marks `memory.events` as changed, which
//! epoll reports as priority data (inotify would need an instance per container, of which
//! a user may have 128). Both count the kills, so a last look at exit misses none.

use super::{Cgroup, keyed};
use crate::poll::Interest;
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags};
use std::fs;
use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::PathBuf;

/// Watches one group for kills.
#[derive(Debug)]
pub struct OomWatch {
    fd: OwnedFd,
    directory: PathBuf,
    unified: bool,
    seen: u64,
}

impl OomWatch {
    /// Starts watching `group`; `None` when it has no memory controller.
    ///
    /// # Errors
    /// What opening or registering with the group's files reports.
    pub fn new(group: &Cgroup) -> io::Result<Option<Self>> {
        let Some(directory) = group.controller("memory").map(PathBuf::from) else { return Ok(None) };
        let unified = matches!(group, Cgroup::V2(_));
        let open = |file: &str| rustix::fs::open(directory.join(file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
        let fd = if unified {
            match open("memory.events") {
                Err(rustix::io::Errno::NOENT) => return Ok(None),
                other => other?,
            }
        } else {
            let event = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
            let control = open("memory.oom_control")?;
            let registration = format!("{} {}", event.as_raw_fd(), control.as_raw_fd());
            fs::write(directory.join("cgroup.event_control"), registration)?;
            event
        };
        let mut watch = Self { fd, directory, unified, seen: 0 };
        watch.seen = watch.count();
        Ok(Some(watch))
    }

    /// How the descriptor is to be polled.
    pub fn interest(&self) -> Interest {
        if self.unified { Interest::Priority } else { Interest::Read }
    }

    /// Whether there was a kill since the last call. Also quiets the descriptor.
    pub fn take(&mut self) -> bool {
        let mut buffer = [0; 512];
        // On v1 the event comes just before the kill is counted: the event itself is the
        // news, and the count that follows is then old.
        let notified = if self.unified {
            // Reading from the start is what re-arms the notification.
            let _text = rustix::io::pread(&self.fd, &mut buffer, 0);
            false
        } else {
            rustix::io::read(&self.fd, &mut buffer[..8]).is_ok()
        };
        if !self.directory.exists() {
            // Removing a v1 group signals its eventfds too.
            return false;
        }
        let count = self.count();
        let grown = count > self.seen;
        self.seen = if notified && !grown { count + 1 } else { count.max(self.seen) };
        notified || grown
    }

    fn count(&self) -> u64 {
        let file = if self.unified { "memory.events" } else { "memory.oom_control" };
        keyed(&self.directory, file).get("oom_kill").copied().unwrap_or(0)
    }
}

impl AsFd for OomWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
