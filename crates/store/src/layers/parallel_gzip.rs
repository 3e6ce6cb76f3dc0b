//! gzip on several threads: blocks of fixed size are deflated apart and joined into one stream of one member.
//!
//! Each block ends with an empty stored block (a sync flush), so that it ends on a byte and blocks can follow each
//! other; their checksums are combined. Block boundaries depend on nothing but the data, so neither does the result.

use flate2::{Compress, Compression, Crc, FlushCompress};
use std::{
    collections::VecDeque,
    io::{self, Write},
    sync::{
        Arc, Mutex, PoisonError,
        mpsc::{self, Receiver, Sender},
    },
    thread::{self, JoinHandle},
};

/// Bytes deflated together. Each block starts with an empty window, which at this size costs less than one percent.
const BLOCK: usize = 1 << 20;
const MAX_THREADS: usize = 8;

struct Job {
    plain: Vec<u8>,
    done: Sender<io::Result<Block>>,
}

struct Block {
    deflated: Vec<u8>,
    crc: Crc,
    /// To be filled again.
    plain: Vec<u8>,
}

/// Compresses what is written to it; nothing is whole before [`ParallelGzip::finish`].
pub(super) struct ParallelGzip<W: Write> {
    out: W,
    plain: Vec<u8>,
    spare: Vec<Vec<u8>>,
    crc: Crc,
    /// Blocks being deflated, in order.
    pending: VecDeque<Receiver<io::Result<Block>>>,
    jobs: Option<Sender<Job>>,
    threads: Vec<JoinHandle<()>>,
}

impl<W: Write> ParallelGzip<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        // Method deflate, no flags, no time, unknown system, as Go writes it.
        out.write_all(&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff])?;
        let (jobs, queue) = mpsc::channel();
        let queue = Arc::new(Mutex::new(queue));
        let count = thread::available_parallelism().map_or(1, usize::from).min(MAX_THREADS);
        let spawn = |_| {
            let queue = Arc::clone(&queue);
            thread::Builder::new().name("deflate".into()).spawn(move || work(&queue))
        };
        let threads = (0..count).map(spawn).collect::<io::Result<_>>()?;
        let (plain, spare) = (Vec::with_capacity(BLOCK), Vec::new());
        Ok(Self { out, plain, spare, crc: Crc::new(), pending: VecDeque::new(), jobs: Some(jobs), threads })
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.plain.is_empty() {
            self.submit()?;
        }
        while !self.pending.is_empty() {
            self.collect()?;
        }
        self.jobs = None;
        for thread in self.threads {
            thread.join().map_err(|_| io::Error::other("deflate thread panicked"))?;
        }
        // An empty last block, then checksum and length modulo 2^32.
        self.out.write_all(&[0x03, 0x00])?;
        self.out.write_all(&self.crc.sum().to_le_bytes())?;
        self.out.write_all(&self.crc.amount().to_le_bytes())?;
        Ok(self.out)
    }

    fn submit(&mut self) -> io::Result<()> {
        // One waiting for each thread keeps them all busy, and bounds the memory.
        if self.pending.len() >= 2 * self.threads.len() {
            self.collect()?;
        }
        let next = self.spare.pop().unwrap_or_else(|| Vec::with_capacity(BLOCK));
        let plain = std::mem::replace(&mut self.plain, next);
        let (done, result) = mpsc::channel();
        let jobs = self.jobs.as_ref().ok_or_else(|| io::Error::other("already finished"))?;
        jobs.send(Job { plain, done }).map_err(|_| io::Error::other("deflate threads are gone"))?;
        self.pending.push_back(result);
        Ok(())
    }

    fn collect(&mut self) -> io::Result<()> {
        if let Some(next) = self.pending.pop_front() {
            let block = next.recv().map_err(|_| io::Error::other("deflate thread panicked"))??;
            self.out.write_all(&block.deflated)?;
            self.crc.combine(&block.crc);
            self.spare.push(block.plain);
        }
        Ok(())
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(BLOCK - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        if self.plain.len() == BLOCK {
            self.submit()?;
        }
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn work(queue: &Mutex<Receiver<Job>>) {
    let mut compress = Compress::new(Compression::default(), false);
    loop {
        let job = queue.lock().unwrap_or_else(PoisonError::into_inner).recv();
        // Disconnected: finished, or given up.
        let Ok(Job { mut plain, done }) = job else { return };
        compress.reset();
        let block = deflate(&mut compress, &plain).map(|deflated| {
            let mut crc = Crc::new();
            crc.update(&plain);
            plain.clear();
            Block { deflated, crc, plain }
        });
        // Nobody listens if writing failed.
        let _ = done.send(block);
    }
}

fn deflate(compress: &mut Compress, plain: &[u8]) -> io::Result<Vec<u8>> {
    let mut deflated = Vec::with_capacity(plain.len() / 2 + 1024);
    loop {
        // What was consumed is at most the length of the input.
        let rest = &plain[usize::try_from(compress.total_in()).unwrap_or(plain.len())..];
        compress.compress_vec(rest, &mut deflated, FlushCompress::Sync).map_err(io::Error::other)?;
        // Room left says that the flush is complete.
        if compress.total_in() == plain.len() as u64 && deflated.len() < deflated.capacity() {
            return Ok(deflated);
        }
        deflated.reserve(64 << 10);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    #[test]
    fn any_length_is_one_member_that_decodes() {
        let data: Vec<u8> = (0..3 * BLOCK + 77).map(|index| (index / 7 * (index / 1000)) as u8).collect();
        for len in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, data.len()] {
            let compressed = || {
                let mut gzip = ParallelGzip::new(Vec::new()).unwrap();
                gzip.write_all(&data[..len]).unwrap();
                gzip.finish().unwrap()
            };
            let mut plain = Vec::new();
            // Not the multi-member decoder: there must be but one.
            let stream = compressed();
            let mut decoder = flate2::bufread::GzDecoder::new(&stream[..]);
            decoder.read_to_end(&mut plain).unwrap();
            assert!(decoder.into_inner().is_empty());
            assert!(plain == data[..len], "length {len}");
            assert_eq!(stream, compressed());
        }
    }

    #[test]
    fn what_does_not_compress_is_written_all_the_same() {
        let mut state = 1u64;
        let noise: Vec<u8> = std::iter::repeat_with(|| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 56) as u8
        })
        .take(2 * BLOCK)
        .collect();
        let mut gzip = ParallelGzip::new(Vec::new()).unwrap();
        gzip.write_all(&noise).unwrap();
        let mut plain = Vec::new();
        flate2::bufread::GzDecoder::new(&gzip.finish().unwrap()[..]).read_to_end(&mut plain).unwrap();
        assert!(plain == noise);
    }
}
