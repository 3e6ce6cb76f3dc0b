//! The stream as something to read from.

use super::WHAT;
use crate::transfer::ByteInput;
use bytes::Bytes;
use client::archive::{HEAD, decompress, not_a_tar};
use model::{Error, Result};
use std::io::{self, BufReader, Cursor, Read};

/// Bytes read from the stream at a time by a decompressor.
const BUFFER: usize = 256 << 10;
/// Most bytes after the end of an archive that are read for good manners: a sender is told of an error otherwise.
const TRAILER: u64 = 64 << 20;

/// The pieces of a stream one after the other.
pub(super) struct Pieces {
    input: ByteInput,
    piece: Bytes,
}

impl Pieces {
    pub(super) fn new(input: ByteInput) -> Self {
        Self { input, piece: Bytes::new() }
    }
}

impl Read for Pieces {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.piece.is_empty() {
            match self.input.blocking_next().map_err(io::Error::other)? {
                Some(piece) => self.piece = piece,
                None => return Ok(0),
            }
        }
        let taken = self.piece.split_to(self.piece.len().min(buffer.len()));
        buffer[..taken.len()].copy_from_slice(&taken);
        Ok(taken.len())
    }
}

/// The tar in a stream: its first bytes tell how it is compressed, if it may be.
pub(super) fn open(pieces: &mut Pieces, perhaps_compressed: bool) -> Result<Box<dyn Read + Send + '_>> {
    let mut head = Vec::with_capacity(HEAD);
    pieces.take(HEAD as u64).read_to_end(&mut head).map_err(broken)?;
    let input = BufReader::with_capacity(BUFFER, Cursor::new(head.clone()).chain(pieces));
    if perhaps_compressed { decompress(&head, input).map_err(broken) } else { Ok(Box::new(input)) }
}

/// Reads what a sender has after the end of its archive.
pub(super) fn finish(pieces: &mut Pieces) -> Result<()> {
    io::copy(&mut pieces.take(TRAILER), &mut io::sink()).map(drop).map_err(broken)
}

/// The error for an archive that cannot be read: the stream's own, or that it is none.
pub(super) fn broken(error: io::Error) -> Error {
    let ours = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
    match ours {
        Some(inner) => Error::new(inner.kind(), format!("read {WHAT}: {inner}")),
        None => not_a_tar(WHAT, error),
    }
}
