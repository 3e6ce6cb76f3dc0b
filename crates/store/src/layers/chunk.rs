//! Buffers that go round: a chunk is passed on to the thread that reads it, or shared, and comes back when it is dropped.
//!
//! The number of chunks of a [`Pool`] bounds both memory and how far one thread runs ahead of another.

use std::{
    io::{self, Read},
    mem,
    ops::Deref,
    sync::mpsc::{self, Receiver, Sender},
};

/// Bytes of a chunk: large enough that a chunk costs little to pass on, small enough to stay in the L2 cache.
const SIZE: usize = 256 << 10;

/// A filled buffer.
#[derive(Debug)]
pub(super) struct Chunk {
    buffer: Vec<u8>,
    len: usize,
    home: Sender<Vec<u8>>,
}

impl Deref for Chunk {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.buffer[..self.len]
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // The pool may be gone already: then the buffer is freed.
        let _ = self.home.send(mem::take(&mut self.buffer));
    }
}

/// A fixed number of buffers, allocated as they are needed.
#[derive(Debug)]
pub(super) struct Pool {
    unborn: usize,
    free: Receiver<Vec<u8>>,
    home: Sender<Vec<u8>>,
}

impl Pool {
    pub(super) fn new(chunks: usize) -> Self {
        let (home, free) = mpsc::channel();
        Self { unborn: chunks, free, home }
    }

    /// A chunk read from `source`: full, or at the end of the stream shorter, or `None` for nothing more.
    ///
    /// With `whole` false, one successful read is enough. Waits for a chunk to come back if all are in use.
    pub(super) fn fill(&mut self, source: &mut dyn Read, whole: bool) -> io::Result<Option<Chunk>> {
        let mut buffer = self.take()?;
        let mut len = 0;
        while len < buffer.len() {
            match source.read(&mut buffer[len..]) {
                Ok(0) => break,
                Ok(read) => len += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            }
            if !whole {
                break;
            }
        }
        let chunk = Chunk { buffer, len, home: self.home.clone() };
        Ok((len > 0).then_some(chunk))
    }

    fn take(&mut self) -> io::Result<Vec<u8>> {
        if let Ok(buffer) = self.free.try_recv() {
            return Ok(buffer);
        }
        if self.unborn > 0 {
            self.unborn -= 1;
            return Ok(vec![0; SIZE]);
        }
        // Never disconnected: `home` lives as long as we do.
        self.free.recv().map_err(io::Error::other)
    }
}
