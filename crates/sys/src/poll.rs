//! epoll with tokens.

use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

/// What to wait for on a descriptor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    /// Readable, reported as long as it holds.
    Read,
    /// Readable or writable, reported as long as either holds.
    ReadWrite,
    /// Readable, reported once and then silent, even about hang-ups, until modified.
    ReadOnce,
    /// Writable, reported once, as above.
    WriteOnce,
    /// Exceptional data (a changed kernfs file), reported as long as it holds.
    Priority,
}

impl Interest {
    fn flags(self) -> EventFlags {
        match self {
            Self::Read => EventFlags::IN,
            Self::ReadWrite => EventFlags::IN | EventFlags::OUT,
            Self::ReadOnce => EventFlags::IN | EventFlags::ONESHOT,
            Self::WriteOnce => EventFlags::OUT | EventFlags::ONESHOT,
            Self::Priority => EventFlags::PRI,
        }
    }
}

/// A descriptor is ready.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    /// The token it was added under.
    pub token: u64,
    /// Data (or the end of it, or an error) can be read without waiting.
    pub readable: bool,
    /// Something can be written without waiting.
    pub writable: bool,
}

/// A set of descriptors to wait on. Closing a descriptor removes it.
#[derive(Debug)]
pub struct Poller(OwnedFd);

impl Poller {
    /// An empty set.
    ///
    /// # Errors
    /// What `epoll_create` reports.
    pub fn new() -> io::Result<Self> {
        Ok(Self(epoll::create(CreateFlags::CLOEXEC)?))
    }

    /// Waits for `interest` on `fd`, reported under `token`.
    ///
    /// # Errors
    /// `EPERM` for descriptors that are always ready, such as regular files.
    pub fn add(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::add(&self.0, fd, EventData::new_u64(token), interest.flags())?)
    }

    /// Changes, or arms again, what is waited for.
    ///
    /// # Errors
    /// What `epoll_ctl` reports.
    pub fn modify(&self, fd: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(epoll::modify(&self.0, fd, EventData::new_u64(token), interest.flags())?)
    }

    /// Takes `fd` out of the set.
    ///
    /// # Errors
    /// What `epoll_ctl` reports.
    pub fn remove(&self, fd: impl AsFd) -> io::Result<()> {
        Ok(epoll::delete(&self.0, fd)?)
    }

    /// Waits until something is ready or `timeout` has passed (`None`: for ever).
    ///
    /// # Errors
    /// What `epoll_wait` reports, except interruption by a signal.
    pub fn wait(&self, ready: &mut Vec<Ready>, timeout: Option<Duration>) -> io::Result<()> {
        ready.clear();
        let mut events = [const { std::mem::MaybeUninit::<epoll::Event>::uninit() }; 32];
        let timeout = timeout.map(|wait| Timespec {
            tv_sec: i64::try_from(wait.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: i64::from(wait.subsec_nanos()),
        });
        let (events, _rest) = match epoll::wait(&self.0, &mut events, timeout.as_ref()) {
            Err(rustix::io::Errno::INTR) => return Ok(()),
            other => other?,
        };
        ready.extend(events.iter().map(|event| {
            let flags = event.flags;
            Ready {
                token: event.data.u64(),
                readable: flags.intersects(EventFlags::IN | EventFlags::PRI | EventFlags::HUP | EventFlags::ERR),
                writable: flags.intersects(EventFlags::OUT | EventFlags::HUP | EventFlags::ERR),
            }
        }));
        Ok(())
    }
}
