//! ttrpc connections of containerd: reading requests, writing responses.

use super::{LISTENER, Shim, Source};
use crate::log::warning;
use bytes::Bytes;
use model::{Error, Result};
use prost::Message;
use proto::ttrpc::server::{self, Event};
use rustix::io::Errno;
use rustix::net::SocketFlags;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use sys::poll::{Interest, Ready};

/// Unsent answers a client may let pile up before it is cut off.
const UNSENT_LIMIT: usize = 8 << 20;

/// Bytes read at a time.
const READ_SIZE: usize = 16 << 10;

/// Between attempts to accept when there is no descriptor left.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// One client.
pub(super) struct Connection {
    socket: OwnedFd,
    wire: server::Connection,
    /// What the socket did not take yet.
    unsent: Vec<u8>,
    /// Whether the poller tells us when it takes more.
    waits_to_write: bool,
}

/// Where an answer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    connection: u64,
    stream: u32,
    /// When the caller has given up.
    pub(crate) deadline: Option<Instant>,
}

impl Shim {
    pub(super) fn accept(&mut self) {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        while let Some(listener) = &self.listener {
            let socket = match rustix::net::accept_with(listener, flags) {
                Ok(socket) => socket,
                Err(Errno::INTR | Errno::CONNABORTED) => continue,
                Err(Errno::AGAIN) => return,
                Err(error) => return self.accept_later(error),
            };
            // The socket's mode says so too; a directory copied with the wrong mode would not.
            let peer = rustix::net::sockopt::socket_peercred(&socket);
            if !peer.is_ok_and(|peer| peer.uid == rustix::process::geteuid()) {
                continue;
            }
            let token = self.next_token;
            if self.poller.add(&socket, token, Interest::Read).is_ok() {
                let wire = server::Connection::default();
                let connection = Connection { socket, wire, unsent: Vec::new(), waits_to_write: false };
                self.add_source(Source::Connection(connection));
                // The daemon is there: what it has not heard of can go now.
                self.publisher.retry_now();
            }
        }
    }

    /// Out of descriptors or memory: the caller stays in the backlog for a moment, rather
    /// than being reported by the poller again and again.
    fn accept_later(&mut self, error: Errno) {
        warning!("accept: {error}");
        let Some(listener) = &self.listener else { return };
        if self.poller.remove(listener).is_ok() {
            self.after(ACCEPT_RETRY, |shim| {
                if let Some(listener) = &shim.listener
                    && let Err(error) = shim.poller.add(listener, LISTENER, Interest::Read)
                {
                    warning!("listen again: {error}");
                }
            });
        }
    }

    pub(super) fn connection_ready(&mut self, token: u64, event: Ready) {
        if event.writable && !self.flush(token) {
            return self.close_connection(token);
        }
        if event.readable && !self.read_requests(token) {
            self.close_connection(token);
        }
    }

    /// Reads and serves what there is; `false` at the end of the connection.
    fn read_requests(&mut self, token: u64) -> bool {
        let mut buffer = [0; READ_SIZE];
        loop {
            let Some(Source::Connection(connection)) = self.sources.get_mut(&token) else { return true };
            let count = match rustix::io::read(&connection.socket, &mut buffer) {
                Ok(0) => return false,
                Ok(count) => count,
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => continue,
                Err(_) => return false,
            };
            connection.wire.receive(&buffer[..count]);
            while let Some(Source::Connection(connection)) = self.sources.get_mut(&token) {
                match connection.wire.next_event() {
                    Some(Event::Request { stream, request, .. }) => {
                        let deadline = request.timeout().and_then(|timeout| Instant::now().checked_add(timeout));
                        self.dispatch(Reply { connection: token, stream, deadline }, &request);
                    }
                    // No method here takes a stream of messages.
                    Some(Event::Data { .. }) => {}
                    Some(Event::Refused(bytes)) => self.send(token, &bytes),
                    None => break,
                }
            }
        }
    }

    /// Answers a request; nobody is there to hear it when the connection has gone.
    pub(crate) fn respond<M: Message>(&mut self, reply: Reply, result: Result<M>) {
        let Some(Source::Connection(connection)) = self.sources.get_mut(&reply.connection) else { return };
        let bytes = match result {
            Ok(message) => connection.wire.respond(reply.stream, Ok(Bytes::from(message.encode_to_vec()))),
            Err(error) => connection.wire.respond(reply.stream, Err(&error)),
        };
        self.send(reply.connection, &bytes);
    }

    fn send(&mut self, token: u64, bytes: &[u8]) {
        let Some(Source::Connection(connection)) = self.sources.get_mut(&token) else { return };
        connection.unsent.extend_from_slice(bytes);
        if connection.unsent.len() == bytes.len() && !self.flush(token) {
            self.close_later(token);
        } else if let Some(Source::Connection(connection)) = self.sources.get(&token)
            && connection.unsent.len() > UNSENT_LIMIT
        {
            self.close_later(token);
        }
    }

    /// Writes what the socket takes; `false` when the connection is broken.
    fn flush(&mut self, token: u64) -> bool {
        let Some(Source::Connection(connection)) = self.sources.get_mut(&token) else { return true };
        while !connection.unsent.is_empty() {
            match rustix::io::write(&connection.socket, &connection.unsent) {
                Ok(count) => drop(connection.unsent.drain(..count)),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => {
                    connection.waits_to_write = true;
                    return self.poller.modify(&connection.socket, token, Interest::ReadWrite).is_ok();
                }
                Err(_) => return false,
            }
        }
        connection.unsent.shrink_to(READ_SIZE);
        !std::mem::take(&mut connection.waits_to_write)
            || self.poller.modify(&connection.socket, token, Interest::Read).is_ok()
    }

    fn close_later(&mut self, token: u64) {
        if self.closing.insert(token) {
            self.soon(Box::new(move |shim| shim.close_connection(token)));
        }
    }

    fn close_connection(&mut self, token: u64) {
        self.closing.remove(&token);
        if matches!(self.sources.get(&token), Some(Source::Connection(_))) {
            self.sources.remove(&token);
            for container in self.containers.values_mut() {
                container.forget_waiters(|reply| reply.connection == token);
            }
        }
    }

    pub(super) fn has_unsent(&self) -> bool {
        self.sources.values().any(|source| matches!(source, Source::Connection(one) if !one.unsent.is_empty()))
    }
}

/// Decodes the message of a request.
pub(crate) fn decode<M: Message + Default>(payload: &Bytes) -> Result<M> {
    M::decode(payload.clone()).map_err(|error| Error::invalid_argument("unmarshal request").caused_by(error))
}
