//! The answering side of a connection.

use super::{Decoder, Flags, Frame, Kind, Request, Response, status_of};
use bytes::Bytes;
use model::Error;
use prost::Message as _;
use std::collections::BTreeSet;

/// What arrived.
#[derive(Debug)]
pub enum Event {
    /// A call: answer it with [`Connection::respond`] on the same stream.
    Request {
        /// Its stream.
        stream: u32,
        /// The call.
        request: Request,
        /// Whether more messages follow as [`Event::Data`].
        more: bool,
    },
    /// A message of a streaming call.
    Data {
        /// Its stream.
        stream: u32,
        /// The message; `None` when the frame only closes the stream.
        payload: Option<Bytes>,
        /// Whether the client will send no more.
        closed: bool,
    },
    /// The frame broke a rule: write these bytes, which tell the client.
    Refused(Vec<u8>),
}

/// One client's connection, from the server's end.
#[derive(Debug, Default)]
pub struct Connection {
    decoder: Decoder,
    last: u32,
    /// Streams on which the client said it will send more.
    open: BTreeSet<u32>,
}

impl Connection {
    /// Takes bytes read from the client; then call [`Self::next_event`] until `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// What arrived next, or `None` until more bytes are received.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            match self.decoder.next_frame()? {
                Err(oversize) => {
                    let error = Error::resource_exhausted(oversize.to_string());
                    return Some(refuse(oversize.stream, &error));
                }
                Ok(frame) => {
                    let stream = frame.stream;
                    match self.accept(frame) {
                        Ok(None) => {}
                        Ok(Some(event)) => return Some(event),
                        Err(error) => return Some(refuse(stream, &error)),
                    }
                }
            }
        }
    }

    fn accept(&mut self, frame: Frame) -> Result<Option<Event>, Error> {
        let stream = frame.stream;
        if stream % 2 != 1 {
            return Err(Error::invalid_argument("StreamID must be odd for client initiated streams"));
        }
        match frame.kind {
            Kind::REQUEST => {
                if stream <= self.last {
                    return Err(Error::invalid_argument("StreamID cannot be re-used and must increment"));
                }
                self.last = stream;
                let request = Request::decode(frame.payload)
                    .map_err(|error| Error::invalid_argument(format!("unmarshal request error: {error}")))?;
                let more = frame.flags.contains(Flags::REMOTE_OPEN);
                if more {
                    self.open.insert(stream);
                }
                Ok(Some(Event::Request { stream, request, more }))
            }
            Kind::DATA => self.data(frame).map(Some),
            // A response makes no sense here and unknown kinds are for a newer server.
            _ => Ok(None),
        }
    }

    fn data(&mut self, frame: Frame) -> Result<Event, Error> {
        let Frame { stream, flags, payload, .. } = frame;
        if !self.open.contains(&stream) {
            return Err(Error::invalid_argument("StreamID is no longer active"));
        }
        let closed = flags.contains(Flags::REMOTE_CLOSED);
        if closed {
            self.open.remove(&stream);
        }
        let payload = (!flags.contains(Flags::NO_DATA)).then_some(payload);
        Ok(Event::Data { stream, payload, closed })
    }

    /// The bytes that end `stream` with `result`.
    pub fn respond(&mut self, stream: u32, result: Result<Bytes, &Error>) -> Vec<u8> {
        self.open.remove(&stream);
        Response::from_result(result.map_err(status_of)).encode_frame(stream)
    }

    /// Whether the client stopped in the middle of a frame.
    pub fn is_mid_frame(&self) -> bool {
        self.decoder.is_mid_frame()
    }
}

fn refuse(stream: u32, error: &Error) -> Event {
    Event::Refused(Response::from_result(Err(status_of(error))).encode_frame(stream))
}
