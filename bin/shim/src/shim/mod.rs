//! The supervisor: one thread, one epoll set.
//!
//! ```text
//! listener ─▶ connections ─▶ task::* ──▶ runc as a child ──▶ continuation ─▶ response
//! signalfd ─▶ reap: a continuation of runc, or the exit of a container's process
//! pipes, terminals ─▶ relays          memory events ─▶ OOM
//! queue of events ─▶ containerd's ttrpc socket, until acknowledged
//! ```
//!
//! Nothing here waits: whatever takes time is a descriptor in the set, a child whose end
//! is a signal, or a timer, and what follows is a [`Step`] kept until then. Steps name
//! containers and processes by id and find out anew whether they still exist.

mod children;
mod connections;
mod relays;
mod steps;

pub(crate) use children::{CallError, capture};
pub(crate) use connections::{Reply, decode};
pub(crate) use steps::Step;

use crate::events::Publisher;
use crate::identity::Identity;
use crate::io::Relay;
use crate::log::{self, warning};
use crate::socket::{self, Bound};
use crate::task::{Container, ProcessKey};
use connections::Connection;
use model::{Error, Result};
use std::cell::OnceCell;
use std::collections::{HashMap, HashSet, VecDeque};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use steps::Timers;
use sys::cgroup::Forerunner;
use sys::poll::{Interest, Poller, Ready};
use sys::process::FileLimit;
use sys::signal::Signals;

/// How long events may still find their way out after `Shutdown`.
const LINGER: Duration = Duration::from_secs(3);

const LISTENER: u64 = 0;
const SIGNALS: u64 = 1;
/// The connection to containerd that takes our events.
pub(crate) const PUBLISHER: u64 = 2;
const FIRST_TOKEN: u64 = 3;

/// What a token of the epoll set stands for.
enum Source {
    Connection(Connection),
    Relay(Box<Relay>),
    /// The memory controller of a container.
    Oom(String),
    /// Runs once, when the descriptor is readable.
    Once(OwnedFd, Step),
}

/// Everything the supervisor knows.
pub(crate) struct Shim {
    pub(crate) identity: Identity,
    pub(crate) containers: HashMap<String, Container>,
    /// Processes of containers that run, by process id.
    pub(crate) pids: HashMap<u32, ProcessKey>,
    pub(crate) publisher: Publisher,
    pub(crate) poller: Poller,
    signals: Signals,
    /// What children get, as ours is raised: a group of containers has many pipes.
    file_limit: FileLimit,
    /// Opened with the first launch; none where the control groups cannot be written.
    forerunner: OnceCell<Option<Forerunner>>,
    listener: Option<OwnedFd>,
    sources: HashMap<u64, Source>,
    next_token: u64,
    children: HashMap<u32, children::Child>,
    /// Launches of runc whose process id is not known yet, and who ended meanwhile.
    launches: usize,
    ended_early: HashMap<u32, u32>,
    timers: Timers,
    steps: VecDeque<Step>,
    /// Writing ends of fifos nobody reads yet, with what is in them.
    parked: Vec<(ProcessKey, OwnedFd)>,
    /// Connections to close once what is written to them has left.
    closing: HashSet<u64>,
    stop_by: Option<Instant>,
}

/// Serves until told to shut down; `path` is for use without the `start` action.
pub(crate) fn serve(identity: &Identity, path: Option<&str>) -> Result<()> {
    let listener = match path {
        Some(path) => match socket::bind(Path::new(path))? {
            Bound::Listener(listener) => listener,
            Bound::Served => return Err(Error::already_exists(format!("a shim serves {path}"))),
        },
        None => sys::process::inherited_fd(sys::process::FIRST_EXTRA_FD)
            .ok_or_else(|| Error::invalid_argument("no listener was inherited: call start, or give -socket"))?,
    };
    log::to_bundle(&identity.bundle);
    let mut shim = Shim::new(identity.clone(), listener).map_err(|error| Error::io("set up the event loop", error))?;
    let result = shim.run().map_err(|error| Error::io("event loop", error));
    shim.stop_listening();
    result
}

fn socket_path(listener: &OwnedFd) -> Option<PathBuf> {
    use std::os::unix::ffi::OsStrExt as _;
    let address = rustix::net::getsockname(listener).ok()?;
    let address = rustix::net::SocketAddrUnix::try_from(address).ok()?;
    Some(PathBuf::from(std::ffi::OsStr::from_bytes(address.path()?.to_bytes())))
}

impl Shim {
    fn new(identity: Identity, listener: OwnedFd) -> std::io::Result<Self> {
        sys::process::become_subreaper()?;
        let signals = Signals::watch(&[libc::SIGCHLD, libc::SIGTERM, libc::SIGINT])?;
        let poller = Poller::new()?;
        rustix::io::ioctl_fionbio(&listener, true)?;
        poller.add(&listener, LISTENER, Interest::Read)?;
        poller.add(&signals, SIGNALS, Interest::Read)?;
        Ok(Self {
            publisher: Publisher::new(&identity),
            identity,
            containers: HashMap::new(),
            pids: HashMap::new(),
            poller,
            signals,
            file_limit: sys::process::raise_file_limit(),
            forerunner: OnceCell::new(),
            listener: Some(listener),
            sources: HashMap::new(),
            next_token: FIRST_TOKEN,
            children: HashMap::new(),
            launches: 0,
            ended_early: HashMap::new(),
            timers: Timers::default(),
            steps: VecDeque::new(),
            parked: Vec::new(),
            closing: HashSet::new(),
            stop_by: None,
        })
    }

    fn run(&mut self) -> std::io::Result<()> {
        let mut ready = Vec::new();
        loop {
            while let Some(step) = self.steps.pop_front() {
                step(self);
            }
            self.publish();
            if self.is_done() {
                return Ok(());
            }
            let deadline = [self.timers.next_due(), self.publisher.wake_at(), self.stop_by].into_iter().flatten().min();
            let timeout = deadline.map(|at| at.saturating_duration_since(Instant::now()));
            self.poller.wait(&mut ready, timeout)?;
            for event in &ready {
                self.handle(*event);
            }
            for step in self.timers.due(Instant::now()) {
                step(self);
            }
        }
    }

    /// After `Shutdown`: once the last event is acknowledged and the last answer is out, or
    /// when time is up (what is left is then in the journal).
    fn is_done(&self) -> bool {
        self.stop_by.is_some_and(|by| (self.publisher.is_idle() && !self.has_unsent()) || Instant::now() >= by)
    }

    /// Ends the loop soon. Whoever looks for a shim from here on is to start a new one.
    pub(crate) fn stop(&mut self) {
        self.stop_by.get_or_insert(Instant::now() + LINGER);
        self.stop_listening();
    }

    fn stop_listening(&mut self) {
        // Only once, as the path may then be that of our successor.
        if let Some(path) = self.listener.take().as_ref().and_then(socket_path) {
            // Gone already when containerd removed it.
            let _gone = std::fs::remove_file(path);
        }
    }

    fn handle(&mut self, event: Ready) {
        match event.token {
            LISTENER => self.accept(),
            SIGNALS => self.take_signals(),
            PUBLISHER => self.publisher.ready(event),
            token => match self.sources.get(&token) {
                Some(Source::Connection(_)) => self.connection_ready(token, event),
                Some(Source::Relay(_)) => self.pump(token),
                Some(Source::Oom(id)) => {
                    let id = id.clone();
                    self.memory_event(&id);
                }
                Some(Source::Once(..)) => {
                    if let Some(Source::Once(_fd, step)) = self.sources.remove(&token) {
                        step(self);
                    }
                }
                None => {}
            },
        }
    }

    fn take_signals(&mut self) {
        while let Some(signal) = self.signals.next_signal() {
            match signal {
                libc::SIGCHLD => {}
                _ => self.stop(),
            }
        }
        self.reap();
    }

    fn publish(&mut self) {
        if let Err(error) = self.publisher.pump(&self.poller) {
            warning!("forward event: {error}");
        }
    }

    fn add_source(&mut self, source: Source) -> u64 {
        let token = self.next_token;
        self.next_token += 1;
        self.sources.insert(token, source);
        token
    }

    /// Runs `step` once `fd` has something to read, or its other end is closed.
    pub(crate) fn when_readable(
        &mut self,
        fd: OwnedFd,
        step: impl FnOnce(&mut Self) + 'static,
    ) -> std::io::Result<u64> {
        let token = self.next_token;
        self.poller.add(&fd, token, Interest::Read)?;
        Ok(self.add_source(Source::Once(fd, Box::new(step))))
    }

    /// Forgets a [`Self::when_readable`] that has not happened; whether it had not.
    pub(crate) fn forget(&mut self, token: u64) -> bool {
        self.sources.remove(&token).is_some()
    }
}
