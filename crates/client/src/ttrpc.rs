//! A ttrpc client on tokio: the daemon's one connection to a shim.
//!
//! Callers write, a task of the connection reads and hands each answer to whoever waits for its
//! stream. An idle connection keeps no buffer. A caller may give up at any point: what it had
//! begun to write is finished by the next one, and a late answer is dropped.

use bytes::Bytes;
use model::{Error, Kind, Result};
use prost::Message;
use proto::ttrpc::{
    KeyValue, MAX_PAYLOAD, NAMESPACE_KEY, Request,
    client::{Connection, Event},
};
use std::{
    collections::HashMap,
    fmt, io,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    net::UnixStream,
    sync::{Mutex as AsyncMutex, oneshot, watch},
    task::AbortHandle,
    time,
};

/// The text of the error that calls end with when the connection closes (as in Go's ttrpc).
const CLOSED: &str = "ttrpc: closed";
/// Unwritten bytes at which a peer counts as hung: no single request is larger.
const MAX_UNWRITTEN: usize = 2 * MAX_PAYLOAD;
/// How often a listener whose backlog is full is tried again.
const BACKLOG_RETRY: Duration = Duration::from_millis(10);

/// A connection to a ttrpc server; dropping it closes the connection.
pub struct Client {
    shared: Arc<Shared>,
    reader: AbortHandle,
}

struct Shared {
    stream: UnixStream,
    /// Bytes to write, in the order of their stream ids. Held while writing.
    unwritten: AsyncMutex<Vec<u8>>,
    state: Mutex<State>,
    closed: watch::Sender<bool>,
}

#[derive(Default)]
struct State {
    codec: Connection,
    waiting: HashMap<u32, oneshot::Sender<Result<Bytes>>>,
    closed: bool,
}

/// One method of one service.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// Full service name: `containerd.task.v3.Task`.
    pub service: &'static str,
    /// Method name: `Create`.
    pub name: &'static str,
}

impl Client {
    /// Connects to a shim's address: `unix://<path>`, or a bare text, which is the name of an
    /// abstract socket.
    ///
    /// # Errors
    /// `Unimplemented` for another scheme, `DeadlineExceeded` after `timeout`, else the socket's.
    pub async fn connect(address: &str, timeout: Duration) -> Result<Self> {
        let path = socket_path(address)?;
        let connect = async {
            loop {
                match UnixStream::connect(&path).await {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => time::sleep(BACKLOG_RETRY).await,
                    other => return other,
                }
            }
        };
        let stream = time::timeout(timeout, connect)
            .await
            .map_err(|_| Error::deadline_exceeded(format!("connect to shim {address}: no answer in {timeout:?}")))?
            .map_err(|error| Error::io(format!("connect to shim {address}"), error))?;
        Ok(Self::new(stream))
    }

    /// Speaks ttrpc on `stream`; must be called inside a tokio runtime.
    pub fn new(stream: UnixStream) -> Self {
        let shared = Arc::new(Shared {
            stream,
            unwritten: AsyncMutex::default(),
            state: Mutex::default(),
            closed: watch::Sender::new(false),
        });
        let reader = tokio::spawn(read(Arc::clone(&shared))).abort_handle();
        Self { shared, reader }
    }

    /// Calls `method` in `namespace` and waits for its answer, at most `timeout`.
    ///
    /// # Errors
    /// The server's; `DeadlineExceeded` after `timeout`; `Unavailable` ("ttrpc: closed") when the
    /// connection ends first; `ResourceExhausted` when the request is over 4 MiB.
    pub async fn call<Q: Message, R: Message + Default>(
        &self,
        method: Method,
        namespace: &str,
        request: &Q,
        timeout: Option<Duration>,
    ) -> Result<R> {
        let request = Request {
            service: method.service.to_owned(),
            method: method.name.to_owned(),
            payload: request.encode_to_vec().into(),
            timeout_nano: timeout.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
            metadata: vec![KeyValue { key: NAMESPACE_KEY.to_owned(), value: namespace.to_owned() }],
        };
        let answer = match timeout {
            None => self.exchange(&request).await,
            Some(timeout) => time::timeout(timeout, self.exchange(&request)).await.unwrap_or_else(|_| {
                Err(Error::deadline_exceeded(format!("shim did not answer {} in {timeout:?}", method.name)))
            }),
        }?;
        R::decode(answer)
            .map_err(|error| Error::internal(format!("malformed answer to {}", method.name)).caused_by(error))
    }

    async fn exchange(&self, request: &Request) -> Result<Bytes> {
        let mut unwritten = self.shared.unwritten.lock().await;
        let (waiter, bytes) = self.shared.open(request)?;
        unwritten.extend_from_slice(&bytes);
        self.shared.flush(&mut unwritten).await?;
        drop(unwritten);
        waiter.answer().await
    }

    /// Whether the connection has ended.
    pub fn is_closed(&self) -> bool {
        *self.shared.closed.borrow()
    }

    /// Waits until the connection has ended.
    pub async fn closed(&self) {
        let mut closed = self.shared.closed.subscribe();
        // An error would mean that the sender is gone, and `self` holds it.
        let _sender_lives = closed.wait_for(|&closed| closed).await;
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.reader.abort();
        self.shared.close();
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("closed", &self.is_closed()).finish_non_exhaustive()
    }
}

/// Waits for one stream's answer, and forgets the stream when dropped.
struct Waiter<'a> {
    shared: &'a Shared,
    stream: u32,
    answer: Option<oneshot::Receiver<Result<Bytes>>>,
}

impl Waiter<'_> {
    async fn answer(mut self) -> Result<Bytes> {
        match self.answer.take() {
            Some(answer) => answer.await.unwrap_or_else(|_| Err(closed())),
            None => Err(closed()),
        }
    }
}

impl Drop for Waiter<'_> {
    fn drop(&mut self) {
        self.shared.lock().waiting.remove(&self.stream);
    }
}

impl Shared {
    /// Takes the next stream id for `request`; the bytes must be written before the next one's.
    fn open(&self, request: &Request) -> Result<(Waiter<'_>, Vec<u8>)> {
        let mut state = self.lock();
        if state.closed {
            return Err(closed());
        }
        let (stream, bytes) = state.codec.call(request)?;
        let (sender, answer) = oneshot::channel();
        state.waiting.insert(stream, sender);
        Ok((Waiter { shared: self, stream, answer: Some(answer) }, bytes))
    }

    /// Writes all of `unwritten`. Cancelled, it leaves there what was not written.
    async fn flush(&self, unwritten: &mut Vec<u8>) -> Result<()> {
        while !unwritten.is_empty() {
            match self.stream.try_write(unwritten) {
                Ok(written) => {
                    unwritten.drain(..written);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if unwritten.len() > MAX_UNWRITTEN {
                        self.close();
                        return Err(Error::unavailable("shim does not read its requests"));
                    }
                    self.stream.writable().await.map_err(|error| Error::io("write to shim", error))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return Err(closed()),
            }
        }
        *unwritten = Vec::new();
        Ok(())
    }

    /// Reads what is there, up to a bound, as others want to run too; `false` at the end of the connection.
    fn receive(&self) -> bool {
        let mut chunk = [0; 8192];
        for _ in 0..16 {
            match self.stream.try_read(&mut chunk) {
                Ok(0) => return false,
                Ok(read) => self.dispatch(&chunk[..read]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => return false,
            }
        }
        true
    }

    fn dispatch(&self, bytes: &[u8]) {
        let mut state = self.lock();
        state.codec.receive(bytes);
        while let Some(event) = state.codec.next_event() {
            // We open no streaming calls, so data frames are nobody's.
            if let Event::Response { stream, result } = event
                && let Some(waiter) = state.waiting.remove(&stream)
            {
                let _caller_may_be_gone = waiter.send(result);
            }
        }
    }

    fn close(&self) {
        let waiting = {
            let mut state = self.lock();
            state.closed = true;
            std::mem::take(&mut state.waiting)
        };
        drop(waiting); // every caller's receiver wakes with an error
        self.closed.send_replace(true);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between statements, so a panicked holder left nothing half-done.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(shared: Arc<Shared>) {
    while shared.stream.readable().await.is_ok() && shared.receive() {}
    shared.close();
}

fn closed() -> Error {
    Error::unavailable(CLOSED)
}

/// Whether `error` says that the connection ended before the answer.
pub fn is_closed(error: &Error) -> bool {
    error.kind() == Kind::Unavailable && error.message() == CLOSED
}

/// What tokio connects to: a path, or `\0name` for an abstract socket.
fn socket_path(address: &str) -> Result<String> {
    if let Some(path) = address.strip_prefix("unix://") {
        return Ok(path.to_owned());
    }
    match address.split_once("://") {
        Some((scheme, _)) => Err(Error::unimplemented(format!("shim address {address:?}: scheme {scheme:?}"))),
        None if address.is_empty() => Err(Error::invalid_argument("shim address is empty")),
        // Shims of containerd 1.3 and before listen on abstract sockets named like paths.
        None => Ok(format!("\0{}", address.trim_start_matches('\0'))),
    }
}

#[cfg(test)]
#[path = "ttrpc_tests.rs"]
mod tests;
