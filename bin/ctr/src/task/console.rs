//! Our terminal, handed to a process.

use super::process::Process;
use model::{Error, Result};
use rustix::termios::{OptionalActions, Termios, isatty, tcgetattr, tcgetwinsize, tcsetattr};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use tokio::signal::unix::{SignalKind, signal};

/// A terminal in raw mode; dropped, it is as it was.
#[derive(Debug)]
pub(crate) struct Console {
    terminal: OwnedFd,
    before: Termios,
}

impl Console {
    /// Takes over the terminal among our stdio.
    pub(crate) fn raw() -> Result<Self> {
        let terminal = terminal()?.ok_or_else(|| {
            Error::failed_precondition("the provided file is not a console: --tty needs a terminal (or use --detach)")
        })?;
        let failed = |errno: rustix::io::Errno| Error::io("set up the terminal", errno.into());
        let before = tcgetattr(&terminal).map_err(failed)?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(&terminal, OptionalActions::Now, &raw).map_err(failed)?;
        Ok(Self { terminal, before })
    }

    /// Gives the process our terminal's size, now and whenever it changes.
    pub(crate) async fn follow_size(&self, process: &Process) -> Result<()> {
        let failed = |error| Error::io("watch the terminal's size", error);
        let mut changes = signal(SignalKind::window_change()).map_err(failed)?;
        loop {
            if let Ok(size) = tcgetwinsize(&self.terminal) {
                // A process that is gone needs no size.
                let _ = process.resize(size.ws_col.into(), size.ws_row.into()).await;
            }
            if changes.recv().await.is_none() {
                return Ok(());
            }
        }
    }

    fn restore(&self) {
        let _ = tcsetattr(&self.terminal, OptionalActions::Now, &self.before);
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.restore();
    }
}

/// The terminal among stderr, stdout and stdin, in the order in which Go's ctr looks for it.
fn terminal() -> Result<Option<OwnedFd>> {
    let (stderr, stdout, stdin) = (io::stderr(), io::stdout(), io::stdin());
    let found = [stderr.as_fd(), stdout.as_fd(), stdin.as_fd()].into_iter().find(|fd| isatty(fd));
    let own = |fd: std::os::fd::BorrowedFd<'_>| fd.try_clone_to_owned();
    found.map(own).transpose().map_err(|error| Error::io("open the terminal", error))
}
