//! Lets in clients that send a socket path as `:authority`.
//!
//! gRPC's C core (Python, Ruby, C++) dials `unix:/run/x.sock` with the path, percent-encoded
//! or not, as `:authority`. That is no authority (RFC 3986), so our HTTP/2 library resets
//! the stream. [`Filter`] sits below it: bytes pass through untouched but for header blocks,
//! in which an invalid authority is overwritten by a valid one *of the same length*. The
//! entry in the compression table keeps its size, so both ends stay in step.
//!
//! ```text
//! socket ─► Filter ─► hyper
//!            ├ DATA, SETTINGS, …: straight into the reader's buffer
//!            └ HEADERS + CONTINUATION: held until whole, rewritten, handed on
//! ```

mod hpack;
mod huffman;

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What an HTTP/2 client sends before its first frame.
const PREFACE: usize = 24;
const FRAME_HEADER: usize = 9;
/// The largest frame a peer may send us, as we never raise it (RFC 9113, 6.5.2).
const MAX_FRAME: usize = 16_384;
/// Most bytes of one request's headers; more is an error.
const MAX_HEADERS: usize = 256 << 10;

const HEADERS: u8 = 1;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 0x4;
const PADDED: u8 = 0x8;
const PRIORITY: u8 = 0x20;

/// A server's connection whose requests have valid authorities.
#[derive(Debug)]
pub(crate) struct Filter<S> {
    stream: S,
    /// Bytes of the current frame (or the preface) that may still pass as they are.
    pass: usize,
    /// Bytes read but not yet understood: at most a header block and part of a frame.
    held: Vec<u8>,
    /// Bytes ready for the reader, from `ready_at` on.
    ready: Vec<u8>,
    ready_at: usize,
}

impl<S> Filter<S> {
    /// A filter on a connection of which nothing has been read yet.
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, pass: PREFACE, held: Vec::new(), ready: Vec::new(), ready_at: 0 }
    }

    /// How many of `bytes`, which follow what was seen before, may pass as they are.
    fn passable(&mut self, bytes: &[u8]) -> usize {
        let mut at = 0;
        loop {
            let step = self.pass.min(bytes.len() - at);
            at += step;
            self.pass -= step;
            match bytes.get(at..at + FRAME_HEADER) {
                Some(header) if self.pass == 0 && !matches!(header[3], HEADERS | CONTINUATION) => {
                    self.pass = FRAME_HEADER + length(header);
                }
                _ => return at,
            }
        }
    }

    /// Moves what is understood from `held` to `ready`.
    fn advance(&mut self) -> io::Result<()> {
        loop {
            let held = std::mem::take(&mut self.held);
            let at = self.passable(&held);
            self.ready.extend_from_slice(&held[..at]);
            let Some((block, used)) = HeaderBlock::parse(&held[at..])? else {
                self.held.extend_from_slice(&held[at..]);
                return Ok(());
            };
            block.write(&mut self.ready)?;
            self.held.extend_from_slice(&held[at + used..]);
        }
    }
}

fn length(frame_header: &[u8]) -> usize {
    usize::from(frame_header[0]) << 16 | usize::from(frame_header[1]) << 8 | usize::from(frame_header[2])
}

fn invalid(why: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

/// The headers of one request, put together from their frames.
struct HeaderBlock {
    flags: u8,
    stream: [u8; 4],
    priority: Option<[u8; 5]>,
    fragment: Vec<u8>,
}

impl HeaderBlock {
    /// The block that `bytes` begin with and how many bytes it took; `None`: it is not whole.
    fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut block: Option<Self> = None;
        let mut at = 0;
        loop {
            let Some(header) = bytes.get(at..at + FRAME_HEADER) else { return Ok(None) };
            let (length, kind, flags) = (length(header), header[3], header[4]);
            if length > MAX_FRAME {
                return Err(invalid("frame of headers is too large"));
            }
            let Some(payload) = bytes.get(at + FRAME_HEADER..at + FRAME_HEADER + length) else { return Ok(None) };
            at += FRAME_HEADER + length;
            let stream = [header[5], header[6], header[7], header[8]];
            match (&mut block, kind) {
                (None, HEADERS) => block = Some(Self::first(flags, stream, payload)?),
                (Some(block), CONTINUATION) if block.stream == stream => block.fragment.extend_from_slice(payload),
                _ => return Err(invalid("frames of headers are out of order")),
            }
            if at > MAX_HEADERS {
                return Err(invalid("request headers are too large"));
            }
            if flags & END_HEADERS != 0 {
                return Ok(block.map(|block| (block, at)));
            }
        }
    }

    fn first(flags: u8, stream: [u8; 4], payload: &[u8]) -> io::Result<Self> {
        let short = || invalid("frame of headers is too short");
        let mut rest = payload;
        if flags & PADDED != 0 {
            let (padding, after) = rest.split_first().ok_or_else(short)?;
            rest = after.len().checked_sub(usize::from(*padding)).map(|end| &after[..end]).ok_or_else(short)?;
        }
        let mut priority = None;
        if flags & PRIORITY != 0 {
            let (first, after) = rest.split_first_chunk::<5>().ok_or_else(short)?;
            (priority, rest) = (Some(*first), after);
        }
        Ok(Self { flags, stream, priority, fragment: rest.to_vec() })
    }

    /// Writes the block with a valid authority, as one HEADERS and the CONTINUATIONs it needs.
    fn write(&self, out: &mut Vec<u8>) -> io::Result<()> {
        let fragment = hpack::with_valid_authority(&self.fragment).ok_or_else(|| invalid("headers do not decode"))?;
        let priority = self.priority.as_ref().map_or(&[][..], |priority| priority.as_slice());
        let mut rest = &fragment[..];
        let mut kind = HEADERS;
        loop {
            let prefix = if kind == HEADERS { priority } else { &[] };
            let (now, later) = rest.split_at(rest.len().min(MAX_FRAME - prefix.len()));
            let mut flags = if kind == HEADERS { self.flags & !(PADDED | END_HEADERS) } else { 0 };
            if later.is_empty() {
                flags |= END_HEADERS;
            }
            // At most MAX_FRAME, which has 15 bits.
            let length = u32::try_from(prefix.len() + now.len()).unwrap_or(0).to_be_bytes();
            out.extend_from_slice(&length[1..]);
            out.extend_from_slice(&[kind, flags]);
            out.extend_from_slice(&self.stream);
            out.extend_from_slice(prefix);
            out.extend_from_slice(now);
            if later.is_empty() {
                return Ok(());
            }
            (rest, kind) = (later, CONTINUATION);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Filter<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        loop {
            if this.ready_at < this.ready.len() {
                let rest = &this.ready[this.ready_at..];
                let count = rest.len().min(out.remaining());
                out.put_slice(&rest[..count]);
                this.ready_at += count;
                return Poll::Ready(Ok(()));
            }
            // An idle connection keeps no buffer.
            (this.ready, this.ready_at) = (Vec::new(), 0);
            if this.held.is_empty() {
                let before = out.filled().len();
                ready!(Pin::new(&mut this.stream).poll_read(context, out))?;
                let read = out.filled().len() - before;
                let passed = this.passable(&out.filled()[before..]);
                this.held.extend_from_slice(&out.filled()[before + passed..]);
                out.set_filled(before + passed);
                // What is held may be whole already, and then nothing more would come.
                this.advance()?;
                if passed > 0 || read == 0 {
                    return Poll::Ready(Ok(()));
                }
            } else {
                let mut chunk = [0; 4096];
                let mut chunk = ReadBuf::new(&mut chunk);
                ready!(Pin::new(&mut this.stream).poll_read(context, &mut chunk))?;
                if chunk.filled().is_empty() {
                    return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
                }
                this.held.extend_from_slice(chunk.filled());
                this.advance()?;
            }
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Filter<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().stream).poll_write_vectored(context, bytes)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests;
