//! A ttrpc client on tokio: the daemon's one connection to a shim.
//!
//! Callers write, a task of the connection reads and hands each answer to whoever waits for its
//! stream. An idle connection keeps no buffer. A caller may give up at any point: what it had
//! begun to write is finished by the next one, and a late answer is dropped.

use crate::shim::{Method, closed};
use bytes::Bytes;
use model::{Error, Result};
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
};

/// Unwritten bytes at which a peer counts as hung: no single request is larger.
const MAX_UNWRITTEN: usize = 2 * MAX_PAYLOAD;

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

impl Client {
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

    /// Sends one encoded request and waits for its answer. The server is told `timeout`; the caller keeps to it.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        namespace: &str,
        payload: Bytes,
        timeout: Option<Duration>,
    ) -> Result<Bytes> {
        let request = Request {
            service: method.service.to_owned(),
            method: method.name.to_owned(),
            payload,
            timeout_nano: timeout.map_or(0, |time| i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)),
            metadata: vec![KeyValue { key: NAMESPACE_KEY.to_owned(), value: namespace.to_owned() }],
        };
        let mut unwritten = self.shared.unwritten.lock().await;
        let (waiter, bytes) = self.shared.open(&request)?;
        drop(request);
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

#[cfg(test)]
#[path = "ttrpc_tests.rs"]
mod tests;
