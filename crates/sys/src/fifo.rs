//! Named pipes, opened so that nobody ever waits and no end vanishes by accident.

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{Mode, OFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileTypeExt as _;
use std::path::Path;

/// Whether `path` is a named pipe; `false` when it does not exist.
///
/// # Errors
/// What `stat` reports otherwise.
pub fn is_fifo(path: &Path) -> io::Result<bool> {
    match std::fs::metadata(path) {
        Ok(metadata) => Ok(metadata.file_type().is_fifo()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Opens the reading end; does not wait for a writer.
///
/// # Errors
/// What `open` reports.
pub fn open_reader(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// Opens the writing end; does not wait for a reader.
///
/// # Errors
/// `ENXIO` when nobody has the reading end open.
pub fn open_writer(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::fs::open(path, OFlags::WRONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?)
}

/// Whether somebody holds the reading end of the pipe `writer` writes to.
pub fn has_reader(writer: impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(&writer, PollFlags::OUT)];
    match rustix::event::poll(&mut fds, Some(&now)) {
        Ok(_) => !fds[0].revents().contains(PollFlags::ERR),
        Err(_) => false,
    }
}

/// Whether `fd` accepts a write now.
pub fn is_writable(fd: impl AsFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    let mut fds = [PollFd::new(&fd, PollFlags::OUT)];
    matches!(rustix::event::poll(&mut fds, Some(&now)), Ok(ready) if ready > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn data_waits_for_a_late_reader_while_the_writer_is_held() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("out");
        assert!(!is_fifo(&path).unwrap());
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        assert!(is_fifo(&path).unwrap());
        assert_eq!(open_writer(&path).unwrap_err().raw_os_error(), Some(libc::ENXIO));
        let ours = open_reader(&path).unwrap();
        let writer = open_writer(&path).unwrap();
        rustix::io::write(&writer, b"last words").unwrap();
        assert!(has_reader(&writer));
        drop(ours);
        soon(|| !has_reader(&writer));
        let late = open_reader(&path).unwrap();
        assert!(has_reader(&writer));
        drop(writer);
        let mut buffer = [0; 32];
        assert_eq!(rustix::io::read(&late, &mut buffer).unwrap(), 10);
        soon(|| rustix::io::read(&late, &mut [0; 32]) == Ok(0));
    }

    /// A child that a test beside this one has forked may have a copy of a descriptor a moment longer.
    fn soon(holds: impl Fn() -> bool) {
        let held = (0..30_000).any(|_| {
            let holds = holds();
            if !holds {
                std::thread::sleep(std::time::Duration::from_millis(1));
            }
            holds
        });
        assert!(held);
    }
}
