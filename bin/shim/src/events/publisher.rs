//! Forwarding events over containerd's ttrpc socket, one at a time and in order.
//!
//! One that is not acknowledged is sent again, for as long as it takes: containerd may be
//! restarting. The queue needs no bound of its own, since while containerd is away nobody
//! asks us to start anything: it holds at most the exits of what runs, and their OOMs.

use super::journal::Journal;
use crate::identity::Identity;
use crate::log::warning;
use crate::shim::PUBLISHER;
use crate::socket;
use bytes::Bytes;
use model::{Error, Kind, Result};
use prost::Message as _;
use proto::Any;
use proto::api::containerd::types::Envelope;
use proto::shim::containerd::services::events::ttrpc::v1::ForwardRequest;
use proto::ttrpc::client::{self, Event};
use proto::ttrpc::{KeyValue, NAMESPACE_KEY, Request};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use sys::poll::{Interest, Poller, Ready};

/// How long containerd may take to acknowledge an event.
pub(crate) const ACKNOWLEDGE: Duration = Duration::from_secs(5);
/// Between attempts, doubled each time from the first to the second.
const RETRY: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A connection that is up.
struct Link {
    socket: OwnedFd,
    wire: client::Connection,
    unsent: Vec<u8>,
    waits_to_write: bool,
    /// The stream of the event that is not acknowledged yet, and until when it may be so.
    in_flight: Option<(u32, Instant)>,
}

/// The queue and the connection it leaves by.
pub(crate) struct Publisher {
    address: PathBuf,
    namespace: String,
    /// Encoded `ForwardRequest`s; the first may be in flight.
    queue: VecDeque<Bytes>,
    journal: Journal,
    link: Option<Link>,
    retry_at: Option<Instant>,
    pause: Duration,
}

/// The call that forwards one event.
pub(crate) fn forward_request(payload: Bytes, namespace: &str) -> Request {
    Request {
        service: "containerd.services.events.ttrpc.v1.Events".into(),
        method: "Forward".into(),
        payload,
        timeout_nano: i64::try_from(ACKNOWLEDGE.as_nanos()).unwrap_or(i64::MAX),
        metadata: vec![KeyValue { key: NAMESPACE_KEY.into(), value: namespace.into() }],
    }
}

impl Publisher {
    pub(crate) fn new(identity: &Identity) -> Self {
        Self {
            address: identity.events.clone(),
            namespace: identity.namespace.clone(),
            queue: VecDeque::new(),
            journal: Journal::new(&identity.bundle),
            link: None,
            retry_at: None,
            pause: RETRY.0,
        }
    }

    /// Adds an event; it leaves with the next [`Self::pump`].
    pub(crate) fn queue(&mut self, topic: &str, event: Any, at: prost_types::Timestamp) {
        if self.address.as_os_str().is_empty() {
            // Started by hand: there is nobody to tell.
            return;
        }
        let envelope = Envelope {
            timestamp: Some(at),
            namespace: self.namespace.clone(),
            topic: topic.to_owned(),
            event: Some(event),
        };
        let bytes = ForwardRequest { envelope: Some(envelope) }.encode_to_vec();
        if let Err(error) = self.journal.append(&bytes) {
            warning!("journal of events: {error}");
        }
        self.queue.push_back(bytes.into());
    }

    /// Whether all events are acknowledged.
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// When [`Self::pump`] has something to do without being told by the poller.
    pub(crate) fn wake_at(&self) -> Option<Instant> {
        match &self.link {
            Some(link) => link.in_flight.map(|(_, until)| until),
            None if self.queue.is_empty() => None,
            None => Some(self.retry_at.unwrap_or_else(Instant::now)),
        }
    }

    /// There is news of containerd: the next attempt need not wait.
    pub(crate) fn retry_now(&mut self) {
        self.retry_at = None;
        self.pause = RETRY.0;
    }

    /// Connects and sends, as far as that is due.
    ///
    /// # Errors
    /// Why containerd cannot be reached, said once; the events stay queued.
    pub(crate) fn pump(&mut self, poller: &Poller) -> Result<()> {
        let now = Instant::now();
        if let Some(Link { in_flight: Some((_, until)), .. }) = &self.link
            && *until <= now
        {
            return self.lose("an event was not acknowledged in 5 s");
        }
        let Some(next) = self.queue.front().cloned() else { return self.flush(poller) };
        if self.link.is_none() {
            if self.retry_at.is_some_and(|at| at > now) {
                return Ok(());
            }
            let connected = socket::connect(&self.address).and_then(|socket| {
                poller.add(&socket, PUBLISHER, Interest::Read)?;
                Ok(socket)
            });
            match connected {
                Ok(socket) => {
                    let wire = client::Connection::default();
                    self.link = Some(Link { socket, wire, unsent: Vec::new(), waits_to_write: false, in_flight: None });
                }
                Err(error) => return self.lose(&format!("connect to {}: {error}", self.address.display())),
            }
        }
        if let Some(link) = &mut self.link
            && link.in_flight.is_none()
        {
            let (stream, bytes) = link.wire.call(&forward_request(next, &self.namespace))?;
            link.unsent.extend_from_slice(&bytes);
            link.in_flight = Some((stream, now + ACKNOWLEDGE));
        }
        self.flush(poller)
    }

    fn flush(&mut self, poller: &Poller) -> Result<()> {
        let Some(link) = &mut self.link else { return Ok(()) };
        while !link.unsent.is_empty() {
            match rustix::io::write(&link.socket, &link.unsent) {
                Ok(count) => drop(link.unsent.drain(..count)),
                Err(rustix::io::Errno::INTR) => {}
                Err(rustix::io::Errno::AGAIN) => {
                    if !link.waits_to_write {
                        link.waits_to_write = true;
                        let armed = poller.modify(&link.socket, PUBLISHER, Interest::ReadWrite);
                        return armed.map_err(|error| Error::io("wait for containerd", error));
                    }
                    return Ok(());
                }
                Err(error) => return self.lose(&format!("send: {error}")),
            }
        }
        if std::mem::take(&mut link.waits_to_write) {
            let armed = poller.modify(&link.socket, PUBLISHER, Interest::Read);
            return armed.map_err(|error| Error::io("wait for containerd", error));
        }
        Ok(())
    }

    /// The connection has something to say.
    pub(crate) fn ready(&mut self, event: Ready) {
        if !event.readable {
            return;
        }
        let mut buffer = [0; 4096];
        while let Some(link) = &mut self.link {
            match rustix::io::read(&link.socket, &mut buffer) {
                Ok(0) | Err(rustix::io::Errno::CONNRESET | rustix::io::Errno::PIPE) => {
                    let _said_when_it_fails_again = self.lose("the connection was closed");
                }
                Ok(count) => {
                    link.wire.receive(&buffer[..count]);
                    self.take_answers();
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }

    fn take_answers(&mut self) {
        while let Some(link) = &mut self.link {
            match link.wire.next_event() {
                Some(Event::Response { stream, result }) if link.in_flight.is_some_and(|(sent, _)| sent == stream) => {
                    link.in_flight = None;
                    self.answered(result.map(drop));
                }
                Some(_) => {}
                None => return,
            }
        }
    }

    fn answered(&mut self, result: Result<()>) {
        match result {
            Err(error) if !is_final(&error) => {
                let _said_when_it_fails_again = self.lose(&error.to_string());
            }
            result => {
                if let Err(error) = result {
                    warning!("containerd refused an event: {error}");
                }
                self.pause = RETRY.0;
                if let Some(event) = self.queue.pop_front()
                    && let Err(error) = self.journal.acknowledge(event.len())
                {
                    warning!("journal of events: {error}");
                }
            }
        }
    }

    /// Gives the connection up, and tries again after a pause.
    fn lose(&mut self, why: &str) -> Result<()> {
        self.link = None;
        let is_first = self.pause == RETRY.0;
        self.retry_at = Some(Instant::now() + self.pause);
        self.pause = (self.pause * 2).min(RETRY.1);
        if is_first { Err(Error::unavailable(why)) } else { Ok(()) }
    }
}

/// Whether containerd will never take the event, however often it is sent.
fn is_final(error: &Error) -> bool {
    matches!(
        error.kind(),
        Kind::InvalidArgument | Kind::FailedPrecondition | Kind::Unimplemented | Kind::PermissionDenied
    )
}
