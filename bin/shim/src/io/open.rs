//! Opening what a client named, without ever waiting for it.

use super::{Plan, ProcessIo, Sink, Target};
use crate::task::Stdio;
use model::{Error, Result};
use rustix::fs::{Gid, Mode, OFlags, Uid};
use rustix::pipe::{PipeFlags, pipe_with};
use std::fs::{DirBuilder, OpenOptions};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// A pipe as (reader, writer).
pub(crate) fn pipe() -> Result<(OwnedFd, OwnedFd)> {
    pipe_with(PipeFlags::CLOEXEC).map_err(|error| Error::io("make a pipe", error.into()))
}

/// Opens `stdio` for a process that `owner` (user and group id) may open again by its name
/// in `/proc`. Not for loggers, which are started first.
pub(crate) fn open_stdio(stdio: &Stdio, owner: (u32, u32)) -> Result<ProcessIo> {
    let mut io = ProcessIo::default();
    let stdout = Target::parse(&stdio.stdout)?;
    // A file: URI takes both outputs.
    let stderr = match &stdout {
        Target::File(_) if !stdio.stderr.is_empty() => stdout.clone(),
        _ => Target::parse(&stdio.stderr)?,
    };
    if stdio.terminal {
        io.plans.push(Plan::Output { from: None, to: open_sink(&stdout)? });
    } else {
        let shared = stdout == stderr;
        let sink = open_sink(&stdout)?;
        // One open file for both keeps lines in order and offsets right.
        let second = if shared { sink.try_clone()? } else { open_sink(&stderr)? };
        for (index, to) in [(1, sink), (2, second)] {
            if !matches!(to, Sink::Null) {
                let (reader, writer) = pipe()?;
                rustix::io::ioctl_fionbio(&reader, true).map_err(|error| Error::io("stdio pipe", error.into()))?;
                chown(&writer, owner)?;
                io.child[index] = Some(writer);
                io.plans.push(Plan::Output { from: Some(reader), to });
            }
        }
    }
    plan_stdin(stdio, owner, &mut io)?;
    Ok(io)
}

fn plan_stdin(stdio: &Stdio, owner: (u32, u32), io: &mut ProcessIo) -> Result<()> {
    if stdio.stdin.is_empty() {
        return Ok(());
    }
    let from = PathBuf::from(stdio.stdin.strip_prefix("fifo://").unwrap_or(&stdio.stdin));
    std::fs::metadata(&from).map_err(|error| stdin_error(&from, error))?;
    let to = if stdio.terminal {
        None
    } else {
        let (reader, writer) = pipe()?;
        rustix::io::ioctl_fionbio(&writer, true).map_err(|error| stdin_error(&from, error.into()))?;
        chown(&reader, owner)?;
        io.child[0] = Some(reader);
        Some(writer)
    };
    io.plans.push(Plan::Input { from, to });
    Ok(())
}

/// Opens the client's stdin: the end to read from, and for a fifo one that keeps it open.
pub(crate) fn open_stdin(path: &Path) -> Result<(OwnedFd, Option<OwnedFd>)> {
    let context = |error| stdin_error(path, error);
    let reader = sys::fifo::open_reader(path).map_err(context)?;
    let is_fifo = sys::fifo::is_fifo(path).map_err(context)?;
    let writer = is_fifo.then(|| sys::fifo::open_writer(path)).transpose().map_err(context)?;
    Ok((reader, writer))
}

fn stdin_error(path: &Path, error: std::io::Error) -> Error {
    Error::io(format!("failed to open stdin fifo {}", path.display()), error)
}

fn chown(fd: &OwnedFd, (user, group): (u32, u32)) -> Result<()> {
    if (user, group) == (0, 0) {
        return Ok(());
    }
    rustix::fs::fchown(fd, Some(Uid::from_raw(user)), Some(Gid::from_raw(group)))
        .map_err(|error| Error::io(format!("give stdio to {user}:{group}"), error.into()))
}

fn open_sink(target: &Target) -> Result<Sink> {
    let path = match target {
        Target::Null | Target::Logger(_) => return Ok(Sink::Null),
        Target::Path(path) | Target::File(path) => path,
    };
    let context = |error| Error::io(format!("containerd-shim: opening {} failed", path.display()), error);
    if sys::fifo::is_fifo(path).map_err(context)? {
        // The reader first: with it a writer need not wait for the client, and the client
        // may go without the writer getting an error.
        let reader = sys::fifo::open_reader(path).map_err(context)?;
        let writer = sys::fifo::open_writer(path).map_err(context)?;
        return Ok(Sink::Fifo { writer, _reader: reader });
    }
    let file = if matches!(target, Target::File(_)) {
        if let Some(parent) = path.parent() {
            DirBuilder::new().recursive(true).mode(0o755).create(parent).map_err(context)?;
        }
        OpenOptions::new().append(true).create(true).mode(0o644).open(path).map_err(context)?.into()
    } else {
        let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
        rustix::fs::open(path, flags, Mode::empty()).map_err(|error| context(error.into()))?
    };
    Ok(Sink::File(file))
}
