//! The threads one layer goes through:
//!
//! ```text
//!   stream ─▶ read, inflate ─▶ sha256 of both sides, tar entries become files
//!             (a thread)       (the caller's thread)
//! ```
//!
//! Each half takes about the same time, so a third thread for the hashes would only have both wait for it: a chunk
//! costs one waking up, and is still in the cache when it is written. Two pools bound the memory to
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

/// What the inflating thread passes on.
#[derive(Debug)]
pub(super) enum Piece {
    /// Bytes as they were read, to be hashed only; the inflating thread uses them too.
    Stored(Arc<Chunk>),
    /// Uncompressed bytes.
    Plain(Chunk),
    /// There will be no `Stored`: the stream is not compressed, and one hash serves for both.
    NotCompressed,
}

/// Pieces on their way.
type Pieces = Sender<io::Result<Piece>>;

/// Runs `extract` on the uncompressed bytes of `stream`, then reads and hashes what it left.
pub(super) fn run(
    stream: &mut (dyn Read + Send),
    compression: Compression,
    stored: Option<Algorithm>,
    extract: impl FnOnce(&mut Input) -> Result<()>,
) -> Result<Passed> {
    let (sender, pieces) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            if let Err(error) = produce(stream, compression, stored, &sender) {
                // If nobody listens, extraction failed for a reason of its own.
                let _ = sender.send(Err(error));
            }
        });
        let mut input = Input::new(pieces, Sums::new(stored));
        extract(&mut input)?;
        // Padding after the end of the archive belongs to the layer's digest, and errors in it count.
        input.skip(u64::MAX).map_err(|error| Error::io("read layer", error))?;
        input.into_sums().finish()
    })
}

/// The digests of both sides, in the making.
#[derive(Debug)]
pub(super) struct Sums {
    stored: Option<(Hasher, u64)>,
    plain: (Hasher, u64),
    same: bool,
}

impl Sums {
    pub(super) fn new(stored: Option<Algorithm>) -> Self {
        let new = |algorithm| (Hasher::new(algorithm), 0);
        Self { stored: stored.map(new), plain: new(Algorithm::Sha256), same: false }
    }

    /// Takes in `piece`; what of it is to be unpacked comes back.
    pub(super) fn take(&mut self, piece: Piece) -> Option<Chunk> {
        let add = |(hasher, size): &mut (Hasher, u64), chunk: &Chunk| {
            hasher.update(chunk);
            *size += chunk.len() as u64;
        };
        match piece {
            Piece::NotCompressed => self.same = true,
            Piece::Stored(chunk) => self.stored.iter_mut().for_each(|sum| add(sum, &chunk)),
            Piece::Plain(chunk) => {
                add(&mut self.plain, &chunk);
                return Some(chunk);
            }
        }
        None
    }

    fn finish(self) -> Result<Passed> {
        let summed = |(hasher, size): (Hasher, u64)| hasher.digest().map(|digest| Summed { digest, size });
        let plain = summed(self.plain)?;
        let stored = match self.stored {
            Some(_) if self.same => Some(plain.clone()),
            stored => stored.map(summed).transpose()?,
        };
        Ok(Passed { stored, plain })
    }
}

fn produce(
    stream: &mut dyn Read,
    compression: Compression,
    algorithm: Option<Algorithm>,
    pieces: &Pieces,
) -> io::Result<()> {
    let mut stored = Stored { stream, pool: Pool::new(STORED_CHUNKS), current: None, position: 0, pieces: None };
    let format = match compression {
        Compression::None => Format::Plain,
        Compression::Detect => Format::of(stored.fill_buf()?),
    };
    match algorithm {
        Some(Algorithm::Sha256) if format == Format::Plain => {
            pieces.send(Ok(Piece::NotCompressed)).map_err(io::Error::other)?;
        }
        Some(_) => stored.pass_on_from_start(pieces)?,
        None => {}
    }
    let mut decoder = decompress::decoder(format, stored)?;
    let mut pool = Pool::new(PLAIN_CHUNKS);
    while let Some(chunk) = pool.fill(&mut *decoder, true)? {
        if pieces.send(Ok(Piece::Plain(chunk))).is_err() {
            break;
        }
    }
    Ok(())
}

/// The stream as it is stored, each chunk of which is also passed on to be hashed.
struct Stored<'a> {
    stream: &'a mut dyn Read,
    pool: Pool,
    current: Option<Arc<Chunk>>,
    position: usize,
    pieces: Option<&'a Pieces>,
}

impl<'a> Stored<'a> {
    fn pass_on_from_start(&mut self, pieces: &'a Pieces) -> io::Result<()> {
        self.pieces = Some(pieces);
        self.pass_on()
    }

    fn pass_on(&self) -> io::Result<()> {
        match (self.pieces, &self.current) {
            (Some(pieces), Some(chunk)) => pieces.send(Ok(Piece::Stored(Arc::clone(chunk)))).map_err(io::Error::other),
            _ => Ok(()),
        }
    }
}

impl BufRead for Stored<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.current.as_ref().is_none_or(|chunk| self.position == chunk.len()) {
            self.current = None;
            self.position = 0;
            // The first chunk is read whole, so that its first bytes tell the format however slowly they come.
            self.current = self.pool.fill(self.stream, true)?.map(Arc::new);
            self.pass_on()?;
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
