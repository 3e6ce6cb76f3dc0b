//! Signals as a descriptor, for loops that wait on descriptors only.

use std::io;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};

/// Blocked signals, read from a descriptor.
#[derive(Debug)]
pub struct Signals(OwnedFd);

impl Signals {
    /// Blocks `signals` for this thread and those it starts later, and watches them.
    /// Children started through std get an empty mask again.
    ///
    /// # Errors
    /// What `sigprocmask` or `signalfd` reports.
    pub fn watch(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: an all-zero sigset_t is a valid value, and the calls below get a pointer
        // to this live local only.
        unsafe {
            let mut set: libc::sigset_t = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for &signal in signals {
                if libc::sigaddset(&raw mut set, signal) < 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            let error = libc::pthread_sigmask(libc::SIG_BLOCK, &raw const set, std::ptr::null_mut());
            if error != 0 {
                return Err(io::Error::from_raw_os_error(error));
            }
            let fd = libc::signalfd(-1, &raw const set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK);
            if fd < 0 {
                return Err(io::Error::last_os_error());
            }
            Ok(Self(OwnedFd::from_raw_fd(fd)))
        }
    }

    /// The next signal that has arrived, if any. One of a kind may stand for many.
    pub fn next_signal(&self) -> Option<i32> {
        // SAFETY: an all-zero signalfd_siginfo is a valid value.
        let mut info: libc::signalfd_siginfo = unsafe { std::mem::zeroed() };
        let size = size_of_val(&info);
        // SAFETY: the buffer is a live local of `size` bytes, which any bytes may fill.
        let read = unsafe { libc::read(self.0.as_raw_fd(), (&raw mut info).cast(), size) };
        if usize::try_from(read) == Ok(size) { i32::try_from(info.ssi_signo).ok() } else { None }
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
