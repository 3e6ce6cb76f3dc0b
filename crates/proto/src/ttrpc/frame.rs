//! The ten-byte header and the payload behind it.

use bytes::{Buf as _, Bytes, BytesMut};
use std::fmt;

/// Bytes of a header.
pub const HEADER_LEN: usize = 10;

/// The largest payload either side may send: 4 MiB.
pub const MAX_PAYLOAD: usize = 4 << 20;

/// An idle decoder gives back a buffer larger than this.
const IDLE_CAPACITY: usize = 64 << 10;

/// What a message is. Kinds this version does not know are kept, so they can be skipped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Kind(pub u8);

impl Kind {
    /// Opens a stream.
    pub const REQUEST: Self = Self(1);
    /// Ends a stream.
    pub const RESPONSE: Self = Self(2);
    /// One message of a streaming call.
    pub const DATA: Self = Self(3);
}

/// A set of flags; unknown bits are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags(pub u8);

impl Flags {
    /// None: a unary call.
    pub const NONE: Self = Self(0);
    /// The sender will send no more on this stream.
    pub const REMOTE_CLOSED: Self = Self(1);
    /// The sender will send more on this stream.
    pub const REMOTE_OPEN: Self = Self(2);
    /// There is no message in this frame (an empty payload alone is an empty message).
    pub const NO_DATA: Self = Self(4);

    /// Whether every flag of `other` is set.
    pub fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    /// Both sets.
    #[must_use]
    pub fn with(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// One message as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Odd when the client opened the stream, which is always so far.
    pub stream: u32,
    /// What the payload is.
    pub kind: Kind,
    /// Modifiers whose meaning depends on `kind`.
    pub flags: Flags,
    /// At most [`MAX_PAYLOAD`] bytes.
    pub payload: Bytes,
}

impl Frame {
    /// Appends the frame to `out`.
    ///
    /// # Errors
    /// [`Oversize`] when the payload is larger than a peer accepts; `out` is unchanged.
    pub fn encode(&self, out: &mut Vec<u8>) -> Result<(), Oversize> {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        if self.payload.len() > MAX_PAYLOAD {
            return Err(Oversize { stream: self.stream, length });
        }
        out.reserve(HEADER_LEN + self.payload.len());
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&self.stream.to_be_bytes());
        out.extend_from_slice(&[self.kind.0, self.flags.0]);
        out.extend_from_slice(&self.payload);
        Ok(())
    }
}

/// A payload above [`MAX_PAYLOAD`]. The connection survives it: the decoder skips the bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Oversize {
    /// The stream it was sent on.
    pub stream: u32,
    /// Its length in bytes.
    pub length: u32,
}

impl fmt::Display for Oversize {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "message length {} exceed maximum message size of {MAX_PAYLOAD}", self.length)
    }
}

impl std::error::Error for Oversize {}

/// Cuts a byte stream into frames. Holds at most one frame and what was fed after it.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
    /// Bytes of an oversize payload still to be thrown away.
    skip: usize,
}

impl Decoder {
    /// Takes bytes read from the peer. Call [`Self::next_frame`] until it gives `None`
    /// before feeding more, so that the buffer stays bounded.
    pub fn feed(&mut self, bytes: &[u8]) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        self.buffer.extend_from_slice(&bytes[skipped..]);
    }

    /// The next whole frame, or `None` until more bytes are fed.
    ///
    /// # Errors
    /// [`Oversize`] once per such frame; decoding goes on behind it.
    pub fn next_frame(&mut self) -> Option<Result<Frame, Oversize>> {
        let mut header = self.buffer.get(..HEADER_LEN)?;
        let (length, stream) = (header.get_u32(), header.get_u32());
        let (kind, flags) = (Kind(header.get_u8()), Flags(header.get_u8()));
        let size = length as usize;
        if size > MAX_PAYLOAD {
            let available = (self.buffer.len() - HEADER_LEN).min(size);
            self.buffer.advance(HEADER_LEN + available);
            self.skip = size - available;
            return Some(Err(Oversize { stream, length }));
        }
        if self.buffer.len() < HEADER_LEN + size {
            return None;
        }
        self.buffer.advance(HEADER_LEN);
        let payload = self.buffer.split_to(size).freeze();
        if self.buffer.is_empty() && (size > IDLE_CAPACITY || self.buffer.capacity() > IDLE_CAPACITY) {
            self.buffer = BytesMut::new();
        }
        Some(Ok(Frame { stream, kind, flags, payload }))
    }

    /// Whether the peer stopped in the middle of a frame.
    pub fn is_mid_frame(&self) -> bool {
        self.skip > 0 || !self.buffer.is_empty()
    }
}
