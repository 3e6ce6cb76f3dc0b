//! The calling side of a connection.

use super::{Decoder, Flags, Frame, Kind, Request, Response, error_of};
use bytes::Bytes;
use model::{Error, Result};
use prost::Message as _;

/// What arrived on a stream.
#[derive(Debug)]
pub enum Event {
    /// The end of the call: the response message, or the server's error.
    Response {
        /// The stream [`Connection::call`] gave.
        stream: u32,
        /// The encoded response message.
        result: Result<Bytes>,
    },
    /// A message of a streaming call.
    Data {
        /// The stream [`Connection::call`] gave.
        stream: u32,
        /// The message; `None` when the frame only closes the stream.
        payload: Option<Bytes>,
        /// Whether the server will send no more: the call has ended without a response.
        closed: bool,
    },
}

/// A connection to a server, from the client's end. The caller keeps its own map from
/// stream to waiter; events of a stream it gave up are to be ignored.
#[derive(Debug)]
pub struct Connection {
    decoder: Decoder,
    next: u32,
}

impl Default for Connection {
    fn default() -> Self {
        Self { decoder: Decoder::default(), next: 1 }
    }
}

impl Connection {
    /// A unary call: its stream, and the bytes to write. Ids must reach the wire in order,
    /// so write them before the next call is made.
    ///
    /// # Errors
    /// `ResourceExhausted` when the request is over 4 MiB; `Unavailable` when the ids of
    /// this connection are used up, and a new connection is needed.
    pub fn call(&mut self, request: &Request) -> Result<(u32, Vec<u8>)> {
        self.open(request, Flags::NONE)
    }

    /// Opens a streaming call; `more` says whether [`Self::data`] follows.
    ///
    /// # Errors
    /// As [`Self::call`].
    pub fn open_stream(&mut self, request: &Request, more: bool) -> Result<(u32, Vec<u8>)> {
        self.open(request, if more { Flags::REMOTE_OPEN } else { Flags::REMOTE_CLOSED })
    }

    fn open(&mut self, request: &Request, flags: Flags) -> Result<(u32, Vec<u8>)> {
        let stream = self.next;
        let next = stream.checked_add(2).ok_or_else(|| Error::unavailable("ttrpc stream ids are used up"))?;
        let payload = Bytes::from(request.encode_to_vec());
        let bytes = encode(&Frame { stream, kind: Kind::REQUEST, flags, payload })?;
        self.next = next;
        Ok((stream, bytes))
    }

    /// The bytes that send `payload` on an open stream; `None` closes our direction.
    ///
    /// # Errors
    /// `ResourceExhausted` when the message is over 4 MiB.
    pub fn data(stream: u32, payload: Option<Bytes>) -> Result<Vec<u8>> {
        let flags = if payload.is_some() { Flags::NONE } else { Flags::REMOTE_CLOSED.with(Flags::NO_DATA) };
        encode(&Frame { stream, kind: Kind::DATA, flags, payload: payload.unwrap_or_default() })
    }

    /// Takes bytes read from the server; then call [`Self::next_event`] until `None`.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.decoder.feed(bytes);
    }

    /// What arrived next, or `None` until more bytes are received.
    pub fn next_event(&mut self) -> Option<Event> {
        loop {
            let frame = match self.decoder.next_frame()? {
                Ok(frame) => frame,
                Err(oversize) => {
                    let result = Err(Error::resource_exhausted(oversize.to_string()));
                    return Some(Event::Response { stream: oversize.stream, result });
                }
            };
            let stream = frame.stream;
            match frame.kind {
                Kind::RESPONSE => {
                    let result = Response::decode(frame.payload)
                        .map_err(|error| Error::internal("malformed ttrpc response").caused_by(error))
                        .and_then(|response| response.into_result().map_err(error_of));
                    return Some(Event::Response { stream, result });
                }
                Kind::DATA => {
                    let payload = (!frame.flags.contains(Flags::NO_DATA)).then_some(frame.payload);
                    return Some(Event::Data { stream, payload, closed: frame.flags.contains(Flags::REMOTE_CLOSED) });
                }
                _ => {}
            }
        }
    }
}

fn encode(frame: &Frame) -> Result<Vec<u8>> {
    let mut out = Vec::new();
    frame.encode(&mut out).map_err(|oversize| Error::resource_exhausted(oversize.to_string()))?;
    Ok(out)
}
