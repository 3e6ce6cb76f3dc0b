//! Hiding the wait for moving a process into a control group.
//!
//! The kernel's lock for such moves (`cgroup_threadgroup_rwsem`) is cheap for forks and exits, and pays for that
//! in the first move after a quiet moment: it waits for a grace period of RCU, some 7 to 12 ms. Moves that follow
//! soon do not wait. A runtime moves the process it makes well after its own start, so a move that begins
//! together with the runtime has waited by then. cgroup v1 and v2 are alike in this; a kernel that does not wait
//! (`favordynmods`) loses nothing.

use super::Cgroup;
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::PathBuf;

/// Moves in a row; all but the first are there to keep the lock awake.
const MOVES: usize = 5;

/// Between them, in nanoseconds: well within the time the lock stays awake.
const PAUSE: libc::c_long = 4_000_000;

/// Wakes the lock for moves up by moving a process to where it is.
#[derive(Debug)]
pub struct Forerunner {
    procs: OwnedFd,
}

impl Forerunner {
    /// For the calling process, which should stay in its control group.
    ///
    /// # Errors
    /// What finding the group, or opening its `cgroup.procs`, reports.
    pub fn new() -> io::Result<Self> {
        let group = Cgroup::of_process(std::process::id())?;
        let directory = match &group {
            Cgroup::V1(directories) => directories.values().next(),
            Cgroup::V2(directory) => Some(directory),
        };
        let path = directory.map(|directory| directory.join("cgroup.procs")).unwrap_or_else(PathBuf::new);
        Ok(Self { procs: rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())? })
    }

    /// Starts the moves, which take some 25 ms, in a child of the caller. To be reaped by the caller, it ends
    /// with `SIGCHLD`; how it ends means nothing.
    ///
    /// The child moves only itself, so that whoever moves the caller at the same time is not undone.
    ///
    /// # Errors
    /// What `clone` reports.
    pub fn run(&self) -> io::Result<u32> {
        let procs = self.procs.as_raw_fd();
        let pause = libc::timespec { tv_sec: 0, tv_nsec: PAUSE };
        // The descriptors are shared, not copied: a pipe the caller closes has no other end here.
        let flags = libc::CLONE_FILES | libc::SIGCHLD;
        // SAFETY: clone without CLONE_VM copies the address space, as fork does, and without a stack the child
        // goes on where we are. Other threads do not exist in the child, so that locks they held stay locked: the
        // child touches none, it makes raw system calls only, on memory of its own, and never returns from this
        // block. It opens and closes no descriptor, and the one it writes to stays open as long as `self`, or
        // else the write fails.
        let pid = unsafe {
            let pid = libc::syscall(libc::SYS_clone, flags, 0, 0, 0, 0);
            if pid == 0 {
                for _ in 0..MOVES {
                    libc::syscall(libc::SYS_write, procs, c"0".as_ptr(), 1);
                    libc::syscall(libc::SYS_nanosleep, &raw const pause, 0);
                }
                libc::syscall(libc::SYS_exit_group, 0);
            }
            pid
        };
        if pid < 0 {
            return Err(io::Error::last_os_error());
        }
        u32::try_from(pid).map_err(|_| io::Error::from(io::ErrorKind::InvalidData))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::process::{Pid, WaitOptions, waitpid};

    #[test]
    fn a_forerunner_moves_nobody_and_ends() {
        let before = std::fs::read_to_string("/proc/self/cgroup").unwrap();
        let forerunner = Forerunner::new().unwrap();
        let child = i32::try_from(forerunner.run().unwrap()).ok().and_then(Pid::from_raw).unwrap();
        let (_, status) = waitpid(Some(child), WaitOptions::empty()).unwrap().unwrap();
        assert_eq!(status.exit_status(), Some(0));
        assert_eq!(std::fs::read_to_string("/proc/self/cgroup").unwrap(), before);
        // Its descriptors were ours, and are still open.
        rustix::io::fcntl_getfd(&forerunner.procs).unwrap();
    }
}
