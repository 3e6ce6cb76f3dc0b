//! Copying from one descriptor to another, as far as both allow without waiting.
//!
//! Between pipes the kernel moves pages (`splice`); otherwise one small buffer is filled
//! and emptied, and only what the sink did not take is kept.

use crate::task::ProcessKey;
use model::{Error, Result};
use rustix::fs::FileType;
use rustix::io::Errno;
use rustix::pipe::{SpliceFlags, fcntl_setpipe_size, splice};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

const BUFFER: usize = 16 << 10;
const SPLICE: usize = 64 << 10;

/// Rounds before other descriptors get their turn.
const ROUNDS: usize = 32;

/// The largest pipe an unprivileged process may have.
const LARGE_PIPE: usize = 1 << 20;

/// Where a relay writes.
#[derive(Debug)]
pub(crate) enum Sink {
    Null,
    /// A named pipe, with a reading end of our own, so that it never breaks.
    Fifo {
        writer: OwnedFd,
        _reader: OwnedFd,
    },
    /// The only writing end of a pipe or terminal.
    Stream(OwnedFd),
    File(OwnedFd),
}

impl Sink {
    /// The same open file once more.
    pub(crate) fn try_clone(&self) -> Result<Self> {
        let clone = |fd: &OwnedFd| fd.try_clone().map_err(|error| Error::io("duplicate stdio", error));
        Ok(match self {
            Self::Null => Self::Null,
            Self::Fifo { writer, _reader } => Self::Fifo { writer: clone(writer)?, _reader: clone(_reader)? },
            Self::Stream(fd) => Self::Stream(clone(fd)?),
            Self::File(fd) => Self::File(clone(fd)?),
        })
    }

    pub(crate) fn fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Null => None,
            Self::Fifo { writer: fd, .. } | Self::Stream(fd) | Self::File(fd) => Some(fd.as_fd()),
        }
    }
}

/// Which end a relay waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    From,
    To,
}

/// How far a relay came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Progress {
    /// It can go on when this end is ready.
    Wait(Side),
    /// Nobody has the terminal open; somebody may open it again.
    Hangup,
    /// The source has ended and all of it is written.
    End,
    /// The sink takes no more.
    Broken(Errno),
}

/// One direction of one stream.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) owner: ProcessKey,
    pub(crate) from: OwnedFd,
    pub(crate) to: Sink,
    pub(crate) is_input: bool,
    /// Whether the sink is in the epoll set.
    pub(crate) is_sink_polled: bool,
    splices: bool,
    /// Read but not written yet.
    pending: Vec<u8>,
}

impl Relay {
    pub(crate) fn new(owner: ProcessKey, from: OwnedFd, to: Sink, is_input: bool) -> Self {
        let is_pipe = |fd: BorrowedFd<'_>| {
            rustix::fs::fstat(fd).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
        };
        let splices = is_pipe(from.as_fd()) && to.fd().is_some_and(is_pipe);
        Self { owner, from, to, is_input, is_sink_polled: false, splices, pending: Vec::new() }
    }

    /// Copies what there is.
    pub(crate) fn pump(&mut self) -> Progress {
        for _ in 0..ROUNDS {
            if let Some(progress) = if self.splices { self.splice() } else { self.copy() } {
                return progress;
            }
        }
        Progress::Wait(Side::From)
    }

    fn splice(&self) -> Option<Progress> {
        let to = self.to.fd()?;
        match splice(&self.from, None, to, None, SPLICE, SpliceFlags::NONBLOCK | SpliceFlags::MOVE) {
            Ok(0) => Some(Progress::End),
            Ok(_) | Err(Errno::INTR) => None,
            // One of them is not ready; the kernel does not say which.
            Err(Errno::AGAIN) if sys::fifo::is_writable(to) => Some(Progress::Wait(Side::From)),
            Err(Errno::AGAIN) => Some(Progress::Wait(Side::To)),
            Err(error) => Some(Progress::Broken(error)),
        }
    }

    fn copy(&mut self) -> Option<Progress> {
        if let Some(progress) = self.write_pending() {
            return Some(progress);
        }
        let mut buffer = [0; BUFFER];
        match rustix::io::read(&self.from, &mut buffer) {
            Ok(0) => Some(Progress::End),
            Ok(count) => self.write(&buffer[..count]),
            Err(Errno::INTR) => None,
            Err(Errno::AGAIN) => Some(Progress::Wait(Side::From)),
            Err(Errno::IO) => Some(Progress::Hangup),
            Err(_) => Some(Progress::End),
        }
    }

    fn write_pending(&mut self) -> Option<Progress> {
        if self.pending.is_empty() {
            return None;
        }
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending)
    }

    /// Writes `bytes` and keeps what the sink does not take.
    fn write(&mut self, mut bytes: &[u8]) -> Option<Progress> {
        while !bytes.is_empty() {
            let fd = self.to.fd()?;
            match rustix::io::write(fd, bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    self.pending = bytes.to_vec();
                    return Some(Progress::Wait(Side::To));
                }
                Err(error) => return Some(Progress::Broken(error)),
            }
        }
        None
    }

    /// From now on the source is read and thrown away, so that its process is not held up.
    pub(crate) fn discard(&mut self) {
        self.to = Sink::Null;
        self.splices = false;
        self.pending = Vec::new();
    }

    /// Makes room in the client's pipe for all that is still in ours: then a reader that
    /// stopped holds up nobody, and finds everything when it goes on, even without us.
    pub(crate) fn make_room(&self) {
        if let Sink::Fifo { writer, .. } | Sink::Stream(writer) = &self.to {
            // Refused for terminals, and where the user has too many pipes.
            let _best_effort = fcntl_setpipe_size(writer, LARGE_PIPE);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::io::pipe;

    fn relay(splices: bool, to: Sink) -> (Relay, OwnedFd) {
        let (reader, writer) = pipe().unwrap();
        rustix::io::ioctl_fionbio(&reader, true).unwrap();
        let mut relay = Relay::new(ProcessKey::init("c"), reader, to, false);
        relay.splices &= splices;
        (relay, writer)
    }

    fn drain(reader: &OwnedFd, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        let mut at = 0;
        while at < count {
            at += rustix::io::read(reader, &mut bytes[at..]).unwrap();
        }
        bytes
    }

    #[test]
    fn a_stopped_reader_holds_the_source_and_gets_everything_later() {
        let _nobody_forks = crate::FORKING.read();
        for splices in [true, false] {
            let (sink_reader, sink_writer) = pipe().unwrap();
            rustix::io::ioctl_fionbio(&sink_writer, true).unwrap();
            let (mut relay, writer) = relay(splices, Sink::Stream(sink_writer));
            let data: Vec<u8> = (0..120_000_u32).map(|number| number.to_le_bytes()[0]).collect();
            rustix::io::write(&writer, &data[..60_000]).unwrap();
            assert_eq!(relay.pump(), Progress::Wait(Side::From));
            rustix::io::write(&writer, &data[60_000..]).unwrap();
            assert_eq!(relay.pump(), Progress::Wait(Side::To));
            drop(writer);
            // The process is gone and the reader still stopped: all of it fits.
            relay.make_room();
            assert_eq!(relay.pump(), Progress::End);
            drop(relay);
            assert_eq!(drain(&sink_reader, data.len()), data);
            assert_eq!(rustix::io::read(&sink_reader, &mut [0; 8]).unwrap(), 0);
        }
    }

    #[test]
    fn a_broken_sink_is_reported_and_the_source_can_be_thrown_away() {
        let _nobody_forks = crate::FORKING.read();
        let (sink_reader, sink_writer) = pipe().unwrap();
        drop(sink_reader);
        let (mut relay, writer) = relay(true, Sink::Stream(sink_writer));
        rustix::io::write(&writer, b"x").unwrap();
        assert_eq!(relay.pump(), Progress::Broken(Errno::PIPE));
        relay.discard();
        drop(writer);
        assert_eq!(relay.pump(), Progress::End);
    }

    #[test]
    fn files_are_appended_to() {
        let _nobody_forks = crate::FORKING.read();
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "old ").unwrap();
        let file = std::fs::OpenOptions::new().append(true).open(&path).unwrap();
        let (mut relay, writer) = relay(true, Sink::File(file.into()));
        rustix::io::write(&writer, b"new").unwrap();
        drop(writer);
        assert_eq!(relay.pump(), Progress::End);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "old new");
    }
}
