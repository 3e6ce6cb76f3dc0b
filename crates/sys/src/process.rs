//! Child processes: starting them with exactly the descriptors they need, and reaping.

use rustix::process::{Pid, Resource, Rlimit, Signal, WaitOptions, getrlimit, setrlimit};
use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command};

/// The descriptor a supervisor hands its listener down as (the first after stdio).
pub const FIRST_EXTRA_FD: RawFd = 3;

/// Extras of a [`Command`] that std leaves out.
#[derive(Debug, Default)]
pub struct Extras {
    /// Descriptors the child gets as 3, 4, 5 and so on.
    pub fds: Vec<OwnedFd>,
    /// Whether the child is killed when its parent dies.
    pub dies_with_parent: bool,
    /// The limit of open files the child gets, where ours is not for it.
    pub file_limit: Option<FileLimit>,
}

/// A limit of open files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FileLimit(Rlimit);

/// Raises our limit of open files as far as it goes, and gives what it was, for
/// [`Extras::file_limit`]: programs that use `select` break under a high one.
pub fn raise_file_limit() -> FileLimit {
    let before = getrlimit(Resource::Nofile);
    // Refused at worst, and then all is as before.
    let _best_effort = setrlimit(Resource::Nofile, Rlimit { current: before.maximum, maximum: before.maximum });
    FileLimit(before)
}

/// Starts `command` with `extras`.
///
/// # Errors
/// What `fork`, `exec` or duplicating a descriptor reports.
pub fn spawn(command: &mut Command, extras: &Extras) -> io::Result<Child> {
    let count = RawFd::try_from(extras.fds.len()).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    // std's own pipe for the error of exec must not land on a number the child overwrites,
    // nor may one of our sources; so occupy the numbers, then move the sources above them.
    let mut placeholders = Vec::new();
    let mut sources = Vec::new();
    if count > 0 {
        let end = FIRST_EXTRA_FD + count;
        loop {
            let placeholder = rustix::io::fcntl_dupfd_cloexec(&extras.fds[0], FIRST_EXTRA_FD)?;
            let past = placeholder.as_raw_fd() >= end;
            placeholders.push(placeholder);
            if past {
                break;
            }
        }
        for fd in &extras.fds {
            sources.push(rustix::io::fcntl_dupfd_cloexec(fd, end)?);
        }
    }
    let raw: Vec<RawFd> = sources.iter().map(|fd| fd.as_raw_fd()).collect();
    let limit = extras.file_limit;
    if extras.dies_with_parent || limit.is_some() || !raw.is_empty() {
        let (dies, parent) = (extras.dies_with_parent, rustix::process::getpid());
        // SAFETY: the closure runs between fork and exec and only makes system calls
        // (prctl, getppid, setrlimit, dup2), all async-signal-safe; it neither allocates nor locks.
        unsafe {
            command.pre_exec(move || {
                if dies {
                    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
                    // The parent may have died before the call above.
                    if rustix::process::getppid() != Some(parent) {
                        return Err(io::Error::from_raw_os_error(libc::ESRCH));
                    }
                }
                if let Some(FileLimit(limit)) = &limit {
                    setrlimit(Resource::Nofile, *limit)?;
                }
                for (target, &source) in (FIRST_EXTRA_FD..).zip(&raw) {
                    if libc::dup2(source, target) < 0 {
                        return Err(io::Error::last_os_error());
                    }
                }
                Ok(())
            });
        }
    }
    command.spawn()
}

/// Takes over a descriptor this process was started with; `None` if it is not open.
///
/// Call it once per number, at start, before anything else is opened.
pub fn inherited_fd(number: RawFd) -> Option<OwnedFd> {
    // SAFETY: fcntl(F_GETFD) reads a flag of a descriptor number and touches no memory.
    if unsafe { libc::fcntl(number, libc::F_GETFD) } < 0 {
        return None;
    }
    // SAFETY: the descriptor is open, was opened by our parent, and nothing else in this
    // process owns it, as the caller takes each number once before opening anything.
    let fd = unsafe { OwnedFd::from_raw_fd(number) };
    // Without it every child would inherit our listener.
    rustix::io::fcntl_setfd(&fd, rustix::io::FdFlags::CLOEXEC).ok()?;
    Some(fd)
}

/// Makes this process the parent of descendants whose own parent exits.
///
/// # Errors
/// What `prctl` reports.
pub fn become_subreaper() -> io::Result<()> {
    Ok(rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?)
}

/// A child that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Exited {
    /// Its process id, free for reuse from now on.
    pub pid: u32,
    /// Its exit code, or 128 plus the number of the signal that ended it.
    pub status: u32,
}

/// Reaps one child that has ended, if there is one; never waits.
pub fn reap() -> Option<Exited> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) => {
                let code = match (status.exit_status(), status.terminating_signal()) {
                    (Some(code), _) => code,
                    (None, Some(signal)) => 128 + signal,
                    (None, None) => continue,
                };
                let pid = u32::try_from(pid.as_raw_nonzero().get()).unwrap_or(0);
                return Some(Exited { pid, status: u32::try_from(code).unwrap_or(255) });
            }
            Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

/// Whether `pid` is a child of ours that has not been reaped (it may be a zombie).
///
/// While this holds the number cannot be reused, so signals reach the right process.
pub fn is_child(pid: u32) -> bool {
    let Some(pid) = to_pid(pid) else { return false };
    let options = rustix::process::WaitIdOptions::EXITED
        | rustix::process::WaitIdOptions::NOHANG
        | rustix::process::WaitIdOptions::NOWAIT;
    rustix::process::waitid(rustix::process::WaitId::Pid(pid), options).is_ok()
}

/// Sends signal number `signal` to `pid`.
///
/// # Errors
/// `ESRCH` when there is no such process, `EINVAL` when there is no such signal.
pub fn kill(pid: u32, signal: u32) -> io::Result<()> {
    let pid = i32::try_from(pid).ok().filter(|&pid| pid > 0);
    let (Some(pid), Ok(signal)) = (pid, i32::try_from(signal)) else {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    };
    // SAFETY: kill takes two integers and touches no memory of ours. (rustix takes no
    // real-time signals, which containers are sent too.)
    if unsafe { libc::kill(pid, signal) } < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

/// Gives the process group of the caller its own core-scheduling cookie, so that no
/// process outside shares a physical core with it.
///
/// # Errors
/// What `prctl` reports; `EINVAL` where the kernel has no core scheduling.
pub fn create_core_scheduling_group() -> io::Result<()> {
    const PROCESS_GROUP: libc::c_ulong = 2;
    // SAFETY: this prctl takes integers only and touches no memory of ours.
    let result = unsafe {
        libc::prctl(
            libc::PR_SCHED_CORE,
            libc::PR_SCHED_CORE_CREATE as libc::c_ulong,
            0 as libc::c_ulong,
            PROCESS_GROUP,
            0,
        )
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn to_pid(pid: u32) -> Option<Pid> {
    i32::try_from(pid).ok().and_then(Pid::from_raw)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read as _;
    use std::process::Stdio;

    #[test]
    fn a_child_gets_its_extra_descriptors_in_order_and_its_exec_error_is_reported() {
        let (one_read, one_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let (two_read, two_write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "echo a >&3; echo b >&4"]).stdin(Stdio::null());
        let extras = Extras { fds: vec![one_write, two_write], dies_with_parent: true, file_limit: None };
        let mut child = spawn(&mut command, &extras).unwrap();
        assert!(is_child(child.id()));
        drop(extras);
        let read = |fd: OwnedFd| {
            let mut text = String::new();
            std::fs::File::from(fd).read_to_string(&mut text).unwrap();
            text
        };
        assert_eq!((read(one_read).as_str(), read(two_read).as_str()), ("a\n", "b\n"));
        assert!(child.wait().unwrap().success());
        assert!(!is_child(child.id()));

        let (_read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).unwrap();
        let extras = Extras { fds: vec![write], ..Extras::default() };
        let error = spawn(&mut Command::new("/nonexistent/program"), &extras).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_child_gets_its_own_limit_of_open_files() {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", "ulimit -n"]).stdout(Stdio::piped());
        let limit = FileLimit(Rlimit { current: Some(123), maximum: getrlimit(Resource::Nofile).maximum });
        let child = spawn(&mut command, &Extras { file_limit: Some(limit), ..Extras::default() }).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"123\n");
    }

    #[test]
    fn signals_outside_the_range_are_refused() {
        assert_eq!(kill(std::process::id(), 1000).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert_eq!(kill(0, 15).unwrap_err().raw_os_error(), Some(libc::EINVAL));
        assert!(kill(std::process::id(), 0).is_ok());
    }
}
