//! The floor below every pull: the same layers with no network, no metadata, no checks of what is in them.
//!
//! Each layer is copied as it is, hashed, inflated, hashed again, and its files are made; the end is on the disk. With
//! the decompressor and the digest that our daemon has, on as many threads as there are cores and one more each for
//! those that inflate ahead; and the disk is kept busy meanwhile, so that the sync at the end has little left.

use crate::cost::Cost;
use flate2::read::MultiGzDecoder;
use rustix::fs::{AtFlags, CWD, Mode, OFlags, Timespec, Timestamps};
use sha2::{Digest as _, Sha256};
use std::{
    fs::{self, File},
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    sync::{
        Mutex,
        mpsc::{Receiver, sync_channel},
    },
    thread,
    time::Instant,
};
use tar::{Archive, EntryType};

/// Bytes passed on at a time, and how many times that may wait.
const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 8;

/// Unpacks `layers` into `target`, which is empty.
pub(crate) fn unpack(layers: &[PathBuf], target: &Path) -> Cost {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(layers.iter().enumerate());
    let next = || waiting.lock().expect("lock").next();
    let (start, before) = (Instant::now(), used());
    sys::fsync::write_back_during(target, || {
        thread::scope(|scope| {
            for _ in 0..cores {
                scope.spawn(|| {
                    while let Some((number, layer)) = next() {
                        unpack_layer(layer, &target.join(number.to_string()));
                    }
                });
            }
        });
    });
    rustix::fs::syncfs(File::open(target).expect("open the target")).expect("sync");
    Cost { wall: start.elapsed().as_secs_f64(), cpu: used() - before }
}

/// Processor seconds of this process.
fn used() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn unpack_layer(layer: &Path, root: &Path) {
    fs::create_dir(root).expect("make the root");
    let (sender, chunks) = sync_channel::<Vec<u8>>(CHUNKS);
    let (back, free) = sync_channel::<Vec<u8>>(CHUNKS + 2);
    thread::scope(|scope| {
        scope.spawn(move || {
            let blob = File::create(root.with_extension("blob")).expect("make the blob");
            let stored = Stored { from: File::open(layer).expect("open the layer"), to: blob, hash: Sha256::new() };
            let mut plain = MultiGzDecoder::new(io::BufReader::with_capacity(CHUNK, stored));
            loop {
                let mut chunk = free.try_recv().unwrap_or_default();
                chunk.clear();
                if plain.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).expect("inflate") == 0 {
                    break;
                }
                sender.send(chunk).expect("pass on");
            }
            std::hint::black_box(plain.into_inner().into_inner().hash.finalize());
        });
        let mut plain = Plain { chunks, back, chunk: Vec::new(), at: 0, hash: Sha256::new() };
        let mut archive = Archive::new(&mut plain);
        let mut buffer = vec![0; CHUNK];
        for entry in archive.entries().expect("an archive") {
            make(&mut entry.expect("an entry"), root, &mut buffer);
        }
        io::copy(&mut plain, &mut io::sink()).expect("read the padding");
        std::hint::black_box(plain.hash.finalize());
    });
}

/// The blob, kept and hashed as it is read.
struct Stored {
    from: File,
    to: File,
    hash: Sha256,
}

impl Read for Stored {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write_all(&buffer[..read])?;
        self.hash.update(&buffer[..read]);
        Ok(read)
    }
}

/// What was inflated, hashed as it comes.
struct Plain {
    chunks: Receiver<Vec<u8>>,
    back: std::sync::mpsc::SyncSender<Vec<u8>>,
    chunk: Vec<u8>,
    at: usize,
    hash: Sha256,
}

impl Read for Plain {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.chunk.len() {
            let Ok(chunk) = self.chunks.recv() else { return Ok(0) };
            drop(self.back.try_send(std::mem::replace(&mut self.chunk, chunk)));
            self.at = 0;
            self.hash.update(&self.chunk);
        }
        let len = buffer.len().min(self.chunk.len() - self.at);
        buffer[..len].copy_from_slice(&self.chunk[self.at..self.at + len]);
        self.at += len;
        Ok(len)
    }
}

/// Makes one file, trusting the archive, which is ours.
fn make(entry: &mut tar::Entry<'_, impl Read>, root: &Path, buffer: &mut [u8]) {
    let header = entry.header();
    let (kind, mode) = (header.entry_type(), Mode::from_raw_mode(header.mode().expect("a mode")));
    let modified = Timespec { tv_sec: header.mtime().expect("a time").try_into().expect("a time"), tv_nsec: 0 };
    let times = Timestamps { last_access: modified, last_modification: modified };
    let path = root.join(entry.path().expect("a path"));
    let link = entry.link_name().expect("a link").map(std::borrow::Cow::into_owned);
    match kind {
        EntryType::Directory => fs::create_dir_all(&path).expect("make a directory"),
        EntryType::Symlink => {
            beside(&path, || rustix::fs::symlink(link.as_ref().expect("a link"), &path));
            rustix::fs::utimensat(CWD, &path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("set the time");
        }
        EntryType::Link => beside(&path, || rustix::fs::link(root.join(link.as_ref().expect("a link")), &path)),
        EntryType::Regular => {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            let mut file = File::from(beside(&path, || rustix::fs::open(&path, flags, mode)));
            loop {
                match entry.read(buffer).expect("read a file") {
                    0 => break,
                    read => file.write_all(&buffer[..read]).expect("write a file"),
                }
            }
            rustix::fs::futimens(&file, &times).expect("set the time");
        }
        other => panic!("{other:?} in {}", path.display()),
    }
}

/// Runs `make`; a second time once the directory is there.
fn beside<T>(path: &Path, make: impl Fn() -> rustix::io::Result<T>) -> T {
    match make() {
        Err(rustix::io::Errno::NOENT) => {
            fs::create_dir_all(path.parent().expect("a parent")).expect("make a directory");
            make().expect("make a file")
        }
        made => made.expect("make a file"),
    }
}
