//! The uncompressed bytes of a layer as the thread that unpacks them sees them: slices of chunks, never copied, and
//! hashed as they come.

use super::{
    chunk::Chunk,
    pipeline::{Piece, Sums},
};
use std::{io, sync::mpsc::Receiver};

/// A stream of chunks.
#[derive(Debug)]
pub(super) struct Input {
    pieces: Receiver<io::Result<Piece>>,
    sums: Sums,
    current: Option<Chunk>,
    position: usize,
}

impl Input {
    pub(super) fn new(pieces: Receiver<io::Result<Piece>>, sums: Sums) -> Self {
        Self { pieces, sums, current: None, position: 0 }
    }

    /// The digests of all that came.
    pub(super) fn into_sums(self) -> Sums {
        self.sums
    }

    /// The next bytes, at most `limit` of them; none at the end of the stream.
    pub(super) fn next(&mut self, limit: usize) -> io::Result<&[u8]> {
        while self.current.as_ref().is_none_or(|chunk| self.position == chunk.len()) {
            // Dropped before the next one is waited for: the sender may need it back.
            self.current = None;
            self.position = 0;
            match self.pieces.recv() {
                Ok(piece) => self.current = self.sums.take(piece?),
                Err(_) => return Ok(&[]),
            }
        }
        let start = self.position;
        let rest = self.current.as_ref().map_or(&[][..], |chunk| &chunk[start..]);
        let slice = &rest[..rest.len().min(limit)];
        self.position += slice.len();
        Ok(slice)
    }

    /// Fills `buffer`; returns how much of it there was before the end of the stream.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            let bytes = self.next(buffer.len() - filled)?;
            if bytes.is_empty() {
                break;
            }
            buffer[filled..filled + bytes.len()].copy_from_slice(bytes);
            filled += bytes.len();
        }
        Ok(filled)
    }

    /// Passes over `count` bytes; returns how many there were.
    pub(super) fn skip(&mut self, count: u64) -> io::Result<u64> {
        let mut left = count;
        while left > 0 {
            let bytes = self.next(usize::try_from(left).unwrap_or(usize::MAX))?.len();
            if bytes == 0 {
                break;
            }
            left -= bytes as u64;
        }
        Ok(count - left)
    }
}
