//! The relays of processes in the event loop, from preparation to the last byte.

use super::{Shim, Source};
use crate::io::{Logger, Plan, ProcessIo, Progress, Relay, Side, Sink, Target, open_stdin, open_stdio, pipe};
use crate::log::warning;
use crate::task::ProcessKey;
use model::{Error, Result};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::Duration;
use sys::cgroup::OomWatch;
use sys::poll::Interest;
use sys::process::Extras;

/// How long a logger may take to become ready.
const LOGGER_READY: Duration = Duration::from_secs(30);
/// How long a logger may take to end after it was asked to.
const LOGGER_END: Duration = Duration::from_secs(2);
/// How long after `Create` stdin is opened, if `Start` does not come first.
const STDIN: Duration = Duration::from_millis(100);
/// Between looks at a terminal nobody has open, and at fifos nobody reads yet.
const RETRY: Duration = Duration::from_millis(50);

impl Shim {
    /// Opens the stdio of a process that is to be made, then runs `then`.
    pub(crate) fn prepare_io(&mut self, key: &ProcessKey, then: impl FnOnce(&mut Self, Result<()>) + 'static) {
        let Some(container) = self.containers.get_mut(&key.container) else { return };
        let owner = (container.options.io_uid, container.options.io_gid);
        let Ok(process) = container.process(&key.exec) else { return };
        let stdio = process.stdio.clone();
        match Target::parse(&stdio.stdout) {
            Ok(Target::Logger(logger)) => {
                let mut rest = stdio;
                rest.stdout = String::new();
                rest.stderr = String::new();
                match open_stdio(&rest, owner) {
                    Ok(io) => self.start_logger(key.clone(), io, &logger, then),
                    Err(error) => then(self, Err(error)),
                }
            }
            Ok(_) => {
                let opened = open_stdio(&stdio, owner).map(|io| process.io = io);
                then(self, opened);
            }
            Err(error) => then(self, Err(error)),
        }
    }

    /// Starts the program that takes the outputs, as descriptors 3 and 4, and waits until
    /// it says on 5 that it is ready.
    fn start_logger(
        &mut self,
        key: ProcessKey,
        io: ProcessIo,
        logger: &Logger,
        then: impl FnOnce(&mut Self, Result<()>) + 'static,
    ) {
        let (ready, pid) = match self.spawn_logger(&key, io, logger) {
            Ok(started) => started,
            Err(error) => return then(self, Err(error)),
        };
        let must_confirm = logger.must_confirm;
        // Whichever comes first, the answer or the end of patience, takes it.
        let then = std::rc::Rc::new(std::cell::Cell::new(Some(then)));
        let late = std::rc::Rc::clone(&then);
        let reader = match ready.try_clone() {
            Ok(reader) => reader,
            Err(error) => {
                self.end_logger(&key);
                let Some(then) = then.take() else { return };
                return then(self, Err(Error::io("wait for logging binary", error)));
            }
        };
        let waiting = self.when_readable(ready, move |shim| {
            let count = rustix::io::read(&reader, &mut [0; 1]).unwrap_or(0);
            let Some(then) = then.take() else { return };
            if count == 0 && must_confirm {
                shim.end_logger(&key);
                let text = "logging binary did not call ready (it may have crashed or exited prematurely)";
                return then(shim, Err(Error::unknown(text)));
            }
            then(shim, Ok(()));
        });
        match waiting {
            Ok(token) => self.after(LOGGER_READY, move |shim| {
                if shim.forget(token)
                    && let Some(then) = late.take()
                {
                    if shim.is_awaited(pid) {
                        let _gone = sys::process::kill(pid, 9);
                    }
                    then(shim, Err(Error::deadline_exceeded("logging binary did not become ready in 30 s")));
                }
            }),
            Err(error) => {
                if let Some(then) = late.take() {
                    then(self, Err(Error::io("wait for logging binary", error)));
                }
            }
        }
    }

    fn spawn_logger(&mut self, key: &ProcessKey, mut io: ProcessIo, logger: &Logger) -> Result<(OwnedFd, u32)> {
        let ((out_reader, out), (err_reader, err)) = (pipe()?, pipe()?);
        let (ready, ready_writer) = pipe()?;
        let mut command = Command::new(&logger.program);
        command
            .args(&logger.arguments)
            .env_clear()
            .env("CONTAINER_ID", key.id())
            .env("CONTAINER_NAMESPACE", &self.identity.namespace)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let fds = vec![out_reader, err_reader, ready_writer];
        let extras = Extras { fds, file_limit: Some(self.file_limit), ..Extras::default() };
        let child = sys::process::spawn(&mut command, &extras).map_err(|error| {
            Error::io(format!("failed to start binary process {}", logger.program.display()), error)
        })?;
        let pid = child.id();
        let is_terminal = self
            .containers
            .get_mut(&key.container)
            .and_then(|container| container.process(&key.exec).ok().map(|process| process.stdio.terminal));
        if is_terminal == Some(true) {
            rustix::io::ioctl_fionbio(&out, true).map_err(|error| Error::io("logger pipe", error.into()))?;
            io.plans.retain(|plan| matches!(plan, Plan::Input { .. }));
            io.plans.push(Plan::Output { from: None, to: Sink::Stream(out) });
        } else {
            io.child[1] = Some(out);
            io.child[2] = Some(err);
        }
        io.logger = Some(pid);
        if let Some(container) = self.containers.get_mut(&key.container)
            && let Ok(process) = container.process(&key.exec)
        {
            process.io = io;
        }
        let key = key.clone();
        self.when_ended(pid, move |shim, _status| shim.logger_ended(&key, pid));
        Ok((ready, pid))
    }

    fn logger_ended(&mut self, key: &ProcessKey, pid: u32) {
        let Some(io) = self.io(key) else { return };
        if io.logger == Some(pid) {
            io.logger = None;
            self.check_drained(key);
        }
    }

    fn io(&mut self, key: &ProcessKey) -> Option<&mut ProcessIo> {
        Some(&mut self.containers.get_mut(&key.container)?.process(&key.exec).ok()?.io)
    }

    /// Starts copying for a process that now exists.
    ///
    /// Stdin of a first process waits for `Start`, or a moment: a client whose input ends
    /// before it has heard of its task has no way to say so (Go's `ctr` then hangs).
    pub(crate) fn start_relays(&mut self, key: &ProcessKey) -> Result<()> {
        let Some(io) = self.io(key) else { return Ok(()) };
        for plan in io.plans.extract_if(.., |plan| matches!(plan, Plan::Output { .. })).collect::<Vec<_>>() {
            if let Plan::Output { from, to } = plan {
                let from = self.or_terminal(key, from)?;
                self.start_relay(Relay::new(key.clone(), from, to, false));
            }
        }
        if !key.is_init() {
            return self.start_input(key);
        }
        let key = key.clone();
        self.after(STDIN, move |shim| shim.start_input_or_warn(&key));
        Ok(())
    }

    /// Starts copying stdin, if that has not been done.
    pub(crate) fn start_input_or_warn(&mut self, key: &ProcessKey) {
        if let Err(error) = self.start_input(key) {
            warning!("{}: {error}", key.id());
        }
    }

    fn start_input(&mut self, key: &ProcessKey) -> Result<()> {
        let Some(io) = self.io(key) else { return Ok(()) };
        if let Some(Plan::Input { from, to }) = io.plans.pop_if(|plan| matches!(plan, Plan::Input { .. })) {
            let (reader, writer) = open_stdin(&from)?;
            let to = self.or_terminal(key, to)?;
            let Some(io) = self.io(key) else { return Ok(()) };
            io.stdin_writer = writer.filter(|_| !io.is_stdin_closed);
            self.start_relay(Relay::new(key.clone(), reader, Sink::Stream(to), true));
        }
        Ok(())
    }

    /// `fd`, or the terminal of the process in its place.
    fn or_terminal(&mut self, key: &ProcessKey, fd: Option<OwnedFd>) -> Result<OwnedFd> {
        let terminal = || self.io(key)?.master.as_ref().map(OwnedFd::try_clone);
        match fd.map(Ok).or_else(terminal) {
            Some(fd) => fd.map_err(|error| Error::io("duplicate terminal", error)),
            None => Err(Error::internal(format!("{} has no terminal", key.id()))),
        }
    }

    fn start_relay(&mut self, relay: Relay) {
        // A file as stdin is always readable, which epoll does not do.
        let polled = self.poller.add(&relay.from, self.next_token, Interest::ReadOnce);
        let owner = relay.owner.clone();
        let token = self.add_source(Source::Relay(Box::new(relay)));
        if let Some(io) = self.io(&owner) {
            io.relays.push(token);
        }
        if polled.is_err() {
            self.soon(Box::new(move |shim| shim.pump(token)));
        }
    }

    /// Lets a relay copy, and arms what it then waits for.
    pub(super) fn pump(&mut self, token: u64) {
        let Some(Source::Relay(relay)) = self.sources.get_mut(&token) else { return };
        let progress = relay.pump();
        let owner = relay.owner.clone();
        let armed = match progress {
            Progress::Wait(Side::From) => self.poller.modify(&relay.from, token, Interest::ReadOnce),
            Progress::Wait(Side::To) => match relay.to.fd() {
                Some(to) if relay.is_sink_polled => self.poller.modify(to, token, Interest::WriteOnce),
                Some(to) => {
                    relay.is_sink_polled = true;
                    self.poller.add(to, token, Interest::WriteOnce)
                }
                None => Ok(()),
            },
            Progress::Hangup if self.has_ended(&owner) => return self.end_relay(token),
            Progress::Hangup => return self.after(RETRY, move |shim| shim.pump(token)),
            Progress::End => return self.end_relay(token),
            Progress::Broken(error) => return self.broken(token, error),
        };
        if armed.is_err() {
            // A regular file, which is always ready.
            self.soon(Box::new(move |shim| shim.pump(token)));
        }
    }

    fn has_ended(&mut self, key: &ProcessKey) -> bool {
        self.containers
            .get_mut(&key.container)
            .and_then(|container| container.process(&key.exec).ok().map(|process| process.exit.is_some()))
            .unwrap_or(true)
    }

    fn broken(&mut self, token: u64, error: rustix::io::Errno) {
        let Some(Source::Relay(relay)) = self.sources.get_mut(&token) else { return };
        if relay.is_input {
            return self.end_relay(token);
        }
        warning!("{}: output is lost from here on: {error}", relay.owner.id());
        if let Some(to) = relay.to.fd()
            && relay.is_sink_polled
        {
            let _gone = self.poller.remove(to);
        }
        relay.is_sink_polled = false;
        relay.discard();
        self.soon(Box::new(move |shim| shim.pump(token)));
    }

    fn end_relay(&mut self, token: u64) {
        let Some(Source::Relay(relay)) = self.sources.remove(&token) else { return };
        // A terminal has more than one descriptor, so closing ours does not do this.
        let _gone = self.poller.remove(&relay.from);
        if let Some(to) = relay.to.fd()
            && relay.is_sink_polled
        {
            let _gone = self.poller.remove(to);
        }
        let owner = relay.owner.clone();
        if let Sink::Fifo { writer, _reader } = relay.to {
            drop(_reader);
            if !sys::fifo::has_reader(&writer) {
                self.park(owner.clone(), writer);
            }
        }
        if let Some(io) = self.io(&owner) {
            io.relays.retain(|&other| other != token);
        }
        self.check_drained(&owner);
    }

    /// Keeps a fifo whose client has not opened it yet: closing the last end would lose
    /// what is in it, and leave the client waiting for ever.
    fn park(&mut self, owner: ProcessKey, writer: OwnedFd) {
        if self.parked.is_empty() {
            self.after(RETRY, Self::check_parked);
        }
        self.parked.push((owner, writer));
    }

    fn check_parked(&mut self) {
        self.parked.retain(|(_, writer)| !sys::fifo::has_reader(writer));
        if !self.parked.is_empty() {
            self.after(RETRY, Self::check_parked);
        }
    }

    /// The process has ended: no more input, and its last output goes out now.
    pub(crate) fn finish_relays(&mut self, key: &ProcessKey) {
        let Some(io) = self.io(key) else { return };
        io.stdin_writer = None;
        for plan in std::mem::take(&mut io.plans) {
            if let Plan::Input { from, .. } = plan {
                // Lets a client go that waits for somebody to open its fifo.
                drop(open_stdin(&from));
            }
        }
        for token in self.io(key).map(|io| io.relays.clone()).unwrap_or_default() {
            match self.sources.get(&token) {
                Some(Source::Relay(relay)) if relay.is_input => self.end_relay(token),
                Some(Source::Relay(relay)) => {
                    relay.make_room();
                    self.pump(token);
                }
                _ => {}
            }
        }
    }

    /// Stops copying for a process that is being forgotten.
    pub(crate) fn end_relays(&mut self, key: &ProcessKey) {
        let tokens = self.io(key).map(|io| io.relays.clone()).unwrap_or_default();
        for token in tokens {
            self.end_relay(token);
        }
        self.end_logger(key);
        self.parked.retain(|(owner, _)| owner != key);
    }

    /// Asks the logger to end, and makes it.
    fn end_logger(&mut self, key: &ProcessKey) {
        let Some(pid) = self.io(key).and_then(|io| io.logger.take()) else { return };
        // It is our child and not reaped yet, so the number is its own.
        let _gone = sys::process::kill(pid, 15);
        self.after(LOGGER_END, move |shim| {
            if shim.is_awaited(pid) {
                let _gone = sys::process::kill(pid, 9);
            }
        });
    }

    /// Runs `then` when all output of the process is out, or after `limit`.
    pub(crate) fn when_drained(&mut self, key: &ProcessKey, limit: Duration, then: impl FnOnce(&mut Self) + 'static) {
        let is_running = !self.has_ended(key);
        match self.io(key) {
            Some(io) if !io.is_drained() && !is_running => io.on_drained = Some(Box::new(then)),
            _ => return then(self),
        }
        let key = key.clone();
        self.after(limit, move |shim| {
            if let Some(then) = shim.io(&key).and_then(|io| io.on_drained.take()) {
                warning!("failed to drain {} io", key.id());
                then(shim);
            }
        });
    }

    fn check_drained(&mut self, key: &ProcessKey) {
        if let Some(io) = self.io(key)
            && io.is_drained()
            && let Some(then) = io.on_drained.take()
        {
            self.soon(then);
        }
    }

    /// Puts the memory watch of container `id` into the event loop.
    pub(crate) fn add_oom_watch(&mut self, id: &str, watch: OomWatch) {
        let added = self.poller.add(&watch, self.next_token, watch.interest());
        let token = self.add_source(Source::Oom(id.to_owned()));
        match (added, self.containers.get_mut(id)) {
            (Ok(()), Some(container)) => container.oom = Some((token, watch)),
            (added, _) => {
                self.sources.remove(&token);
                if let Err(error) = added {
                    warning!("{id}: watch memory events: {error}");
                }
            }
        }
    }

    /// Takes it out again.
    pub(crate) fn remove_oom_watch(&mut self, id: &str) {
        if let Some((token, _watch)) = self.containers.get_mut(id).and_then(|container| container.oom.take()) {
            self.sources.remove(&token);
        }
    }
}
