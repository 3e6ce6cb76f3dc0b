//! A way to a registry that notes what is asked for, counts the bytes of bodies, and holds them back as told.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::sockopt::set_socket_send_buffer_size;

use crate::{PATIENCE, Registry, eventually};

/// Most bytes of a body that pass at a time.
const PIECE: usize = 16 << 10;
/// How often those whose bytes are held back are looked after.
const LOOK: Duration = Duration::from_millis(20);

/// A proxy in front of a registry, in the clear, one request a connection. It listens until the process ends.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    way: Arc<Way>,
}

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// GET, PUT and so on.
    pub method: String,
    /// A path, or all of a URL if whoever asks knows of the proxy.
    pub url: String,
    /// The first byte that it wants.
    pub from: u64,
}

#[derive(Debug)]
struct Way {
    upstream: String,
    /// How long each piece of a body takes.
    pace: Duration,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug)]
struct State {
    asked: Vec<Asked>,
    /// Connections.
    open: usize,
    /// Bytes of bodies, of requests and of answers, that have passed, and that may.
    passed: u64,
    allowed: u64,
    /// Bodies that wait to be allowed more, and those of which the client hung up meanwhile.
    held: usize,
    given_up: usize,
}

impl Proxy {
    /// One that lets everything pass.
    #[must_use]
    pub fn before(registry: &Registry) -> Self {
        Self::paced(registry, Duration::ZERO)
    }

    /// One that takes `pace` for each piece of 16 KiB of a body.
    #[must_use]
    pub fn paced(registry: &Registry, pace: Duration) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = State { asked: Vec::new(), open: 0, passed: 0, allowed: u64::MAX, held: 0, given_up: 0 };
        let (upstream, changed) = (registry.address().to_owned(), Condvar::new());
        let way = Arc::new(Way { upstream, pace, state: Mutex::new(state), changed });
        let shared = Arc::clone(&way);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let way = Arc::clone(&shared);
                way.state().open += 1;
                thread::spawn(move || {
                    // Either end may go away.
                    drop(way.serve(&client));
                    drop(client);
                    way.state().open -= 1;
                });
            }
        });
        Self { address, way }
    }

    /// `host:port`
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// The full name of an image of the registry, by this way.
    #[must_use]
    pub fn name(&self, rest: &str) -> String {
        format!("{}/{rest}", self.address)
    }

    /// Requests, in their order.
    #[must_use]
    pub fn asked(&self) -> Vec<Asked> {
        self.way.state().asked.clone()
    }

    /// The first bytes wanted by the requests for blob `digest`.
    #[must_use]
    pub fn gets(&self, digest: &str) -> Vec<u64> {
        let blob = format!("/blobs/{digest}");
        let asked = self.asked().into_iter().filter(|asked| asked.method == "GET" && asked.url.ends_with(&blob));
        asked.map(|asked| asked.from).collect()
    }

    /// Bytes of bodies that have passed.
    #[must_use]
    pub fn passed(&self) -> u64 {
        self.way.state().passed
    }

    /// Lets `bytes` more of bodies pass, and holds back the rest.
    pub fn allow(&self, bytes: u64) {
        let mut state = self.way.state();
        state.allowed = state.passed.saturating_add(bytes);
        self.way.changed.notify_all();
    }

    /// Waits until so many bytes of bodies have passed in all.
    pub fn wait_for_passed(&self, bytes: u64) {
        self.wait_until(|state| state.passed >= bytes);
    }

    /// Waits until the bodies of `count` requests or answers are held back.
    pub fn wait_for_held(&self, count: usize) {
        self.wait_until(|state| state.held >= count);
    }

    fn wait_until(&self, condition: impl Fn(&State) -> bool) {
        let waited = self.way.changed.wait_timeout_while(self.way.state(), PATIENCE, |state| !condition(state));
        let (state, waited) = waited.expect("nobody panics with it");
        let came = format!("{state:?}");
        drop(state);
        assert!(!waited.timed_out(), "waited {PATIENCE:?}, and there came no more than {came}");
    }

    /// How many clients hung up while bytes for them were held back. That one hung up whose own are held back does not
    /// show: its end comes behind what it has sent.
    #[must_use]
    pub fn given_up(&self) -> usize {
        self.way.state().given_up
    }

    /// Waits until all connections are closed.
    pub fn wait_for_silence(&self) {
        eventually("all connections to be closed", || self.way.state().open == 0);
    }
}

impl Way {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics with it")
    }

    /// Passes on one request and its answer.
    fn serve(&self, client: &TcpStream) -> io::Result<()> {
        // What has passed is on its way, and not in a buffer of ours.
        set_socket_send_buffer_size(client, PIECE)?;
        let mut from_client = BufReader::new(client.try_clone()?);
        if from_client.fill_buf()?.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
            // What servers that speak no TLS say to its handshake.
            let mut to_client = client;
            return to_client.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n");
        }
        let head = head(&mut from_client)?;
        self.state().asked.push(Asked::parse(&head));
        let upstream = TcpStream::connect(&self.upstream)?;
        (&upstream).write_all(head.trim_end().as_bytes())?;
        (&upstream).write_all(b"\r\nConnection: close\r\n\r\n")?;
        thread::scope(|scope| {
            scope.spawn(|| {
                // Until the client hangs up, or we do below.
                drop(self.pass(from_client, &upstream, client));
                drop(upstream.shutdown(Shutdown::Both));
            });
            let answer = || {
                let mut from_upstream = BufReader::new(&upstream);
                let head = self::head(&mut from_upstream)?;
                let mut to_client = client;
                to_client.write_all(head.as_bytes())?;
                self.pass(from_upstream, to_client, client)
            };
            let answered = answer();
            drop(client.shutdown(Shutdown::Both));
            answered
        })
    }

    fn pass(&self, mut from: impl Read, mut to: impl Write, client: &TcpStream) -> io::Result<()> {
        let mut piece = vec![0; PIECE];
        loop {
            let mut rest = match from.read(&mut piece)? {
                0 => return Ok(()),
                read => &piece[..read],
            };
            while !rest.is_empty() {
                let (now, later) = rest.split_at(self.allowed(rest.len(), client)?);
                to.write_all(now)?;
                rest = later;
                thread::sleep(self.pace);
            }
        }
    }

    /// Waits until some of `wanted` bytes may pass, and counts them.
    fn allowed(&self, wanted: usize, client: &TcpStream) -> io::Result<usize> {
        let mut state = self.state();
        if state.passed >= state.allowed {
            state.held += 1;
            self.changed.notify_all();
            while state.passed >= state.allowed && !has_hung_up(client) {
                state = self.changed.wait_timeout(state, LOOK).expect("nobody panics with it").0;
            }
            state.held -= 1;
            if has_hung_up(client) {
                state.given_up += 1;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        let now = usize::try_from(state.allowed - state.passed).unwrap_or(wanted).min(wanted);
        state.passed += now as u64;
        self.changed.notify_all();
        Ok(now)
    }
}

impl Asked {
    fn parse(head: &str) -> Self {
        let mut words = head.split_whitespace().map(str::to_owned);
        let (method, url) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        let range =
            head.lines().find_map(|line| line.to_ascii_lowercase().strip_prefix("range: bytes=").map(str::to_owned));
        let from = range.and_then(|range| range.split('-').next()?.parse().ok()).unwrap_or(0);
        Self { method, url, from }
    }
}

/// Everything up to the empty line.
fn head(from: &mut impl BufRead) -> io::Result<String> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if from.read_line(&mut head)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(head)
}

/// Whether the other end is closed, though there may be bytes to read.
fn has_hung_up(stream: &TcpStream) -> bool {
    let mut polled = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok()
        && polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR)
}
