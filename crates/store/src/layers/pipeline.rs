//! The threads one layer goes through:
//!
//! ```text
//!   stream ─▶ read, inflate ─┬─▶ sha256 of both sides          (a thread)
//!             (a thread)     └─▶ tar entries become files      (the caller's thread)
//! ```
//!
//! Chunks are shared, so the thread that inflates, the slowest, does nothing else; two pools bound the memory to
//! [`PLAIN_CHUNKS`] + [`STORED_CHUNKS`] chunks.

use super::{
    chunk::{Chunk, Pool},
    decompress::{self, Format},
    input::Input,
    media_type::Compression,
};
use crate::content::Hasher;
use model::{Algorithm, Digest, Error, Result};
use std::{
    io::{self, BufRead, Read},
    sync::{
        Arc,
        mpsc::{self, Sender},
    },
    thread,
};

const PLAIN_CHUNKS: usize = 8;
const STORED_CHUNKS: usize = 4;

/// Digest and size of a stream.
#[derive(Clone, Debug)]
pub(super) struct Summed {
    pub(super) digest: Digest,
    pub(super) size: u64,
}

/// What went through.
#[derive(Debug)]
pub(super) struct Passed {
    /// Before decompression, hashed with the algorithm asked for; `None` if none was.
    pub(super) stored: Option<Summed>,
    /// After decompression, always SHA-256.
    pub(super) plain: Summed,
}

/// Runs `extract` on the uncompressed bytes of `stream`, then reads and hashes what it left.
pub(super) fn run(
    stream: &mut (dyn Read + Send),
    compression: Compression,
    stored: Option<Algorithm>,
    extract: impl FnOnce(&mut Input) -> Result<()>,
) -> Result<Passed> {
    let (to_hash, jobs) = mpsc::channel();
    let (to_extract, chunks) = mpsc::channel();
    thread::scope(|scope| {
        let hashing = scope.spawn(move || hash(jobs, stored));
        scope.spawn(move || {
            if let Err(error) = produce(stream, compression, stored, &to_hash, &to_extract) {
                // If nobody listens, extraction failed for a reason of its own.
                let _ = to_extract.send(Err(error));
            }
        });
        let mut input = Input::new(chunks);
        let result = extract(&mut input).and_then(|()| {
            // Padding after the end of the archive belongs to the layer's digest, and errors in it count.
            input.skip(u64::MAX).map_err(|error| Error::io("read layer", error))
        });
        drop(input);
        let sums = hashing.join().map_err(|_| Error::internal("hash layer: thread panicked"))?;
        result?;
        let (stored, plain) = sums?;
        Ok(Passed { stored, plain })
    })
}

enum Job {
    Stored(Arc<Chunk>),
    Plain(Arc<Chunk>),
    /// There will be no `Stored`: the stream is not compressed, and one hash serves for both.
    NotCompressed,
}

fn hash(jobs: mpsc::Receiver<Job>, algorithm: Option<Algorithm>) -> Result<(Option<Summed>, Summed)> {
    let mut stored = algorithm.map(|algorithm| (Hasher::new(algorithm), 0));
    let (mut plain, mut size) = (Hasher::new(Algorithm::Sha256), 0);
    let mut same = false;
    for job in jobs {
        match job {
            Job::NotCompressed => same = true,
            Job::Plain(chunk) => {
                plain.update(&chunk);
                size += chunk.len() as u64;
            }
            Job::Stored(chunk) => {
                if let Some((hasher, size)) = &mut stored {
                    hasher.update(&chunk);
                    *size += chunk.len() as u64;
                }
            }
        }
    }
    let plain = Summed { digest: plain.digest()?, size };
    let stored = match stored {
        Some(_) if same => Some(plain.clone()),
        Some((hasher, size)) => Some(Summed { digest: hasher.digest()?, size }),
        None => None,
    };
    Ok((stored, plain))
}

fn produce(
    stream: &mut dyn Read,
    compression: Compression,
    algorithm: Option<Algorithm>,
    to_hash: &Sender<Job>,
    to_extract: &Sender<io::Result<Arc<Chunk>>>,
) -> io::Result<()> {
    let mut stored = Stored { stream, pool: Pool::new(STORED_CHUNKS), current: None, position: 0, to_hash: None };
    let format = match compression {
        Compression::None => Format::Plain,
        Compression::Detect => Format::of(stored.fill_buf()?),
    };
    match algorithm {
        Some(Algorithm::Sha256) if format == Format::Plain => {
            to_hash.send(Job::NotCompressed).map_err(io::Error::other)?;
        }
        Some(_) => stored.hash_from_start(to_hash)?,
        None => {}
    }
    let mut decoder = decompress::decoder(format, stored)?;
    let mut pool = Pool::new(PLAIN_CHUNKS);
    while let Some(chunk) = pool.fill(&mut *decoder, true)? {
        let hashed = to_hash.send(Job::Plain(Arc::clone(&chunk)));
        if hashed.is_err() || to_extract.send(Ok(chunk)).is_err() {
            break;
        }
    }
    Ok(())
}

/// The stream as it is stored, each chunk of which is also hashed.
struct Stored<'a> {
    stream: &'a mut dyn Read,
    pool: Pool,
    current: Option<Arc<Chunk>>,
    position: usize,
    to_hash: Option<&'a Sender<Job>>,
}

impl<'a> Stored<'a> {
    fn hash_from_start(&mut self, to_hash: &'a Sender<Job>) -> io::Result<()> {
        self.to_hash = Some(to_hash);
        match &self.current {
            Some(chunk) => to_hash.send(Job::Stored(Arc::clone(chunk))).map_err(io::Error::other),
            None => Ok(()),
        }
    }
}

impl BufRead for Stored<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| self.position == chunk.len()) {
            self.current = None;
            self.position = 0;
            // The first chunk is read whole, so that its first bytes tell the format however slowly they come.
            self.current = self.pool.fill(self.stream, true)?;
            if let (Some(to_hash), Some(chunk)) = (self.to_hash, &self.current) {
                to_hash.send(Job::Stored(Arc::clone(chunk))).map_err(io::Error::other)?;
            }
        }
        Ok(self.current.as_ref().map_or(&[][..], |chunk| &chunk[self.position..]))
    }

    fn consume(&mut self, amount: usize) {
        self.position += amount;
    }
}

impl Read for Stored<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let bytes = self.fill_buf()?;
        let len = bytes.len().min(buffer.len());
        buffer[..len].copy_from_slice(&bytes[..len]);
        self.consume(len);
        Ok(len)
    }
}
