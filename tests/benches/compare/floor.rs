//! The floors below every pull and push: the same bytes through what has to be done with them, and nothing else.
//!
//! Of a pull that is inflate, sha256 and the disk. Each layer is copied as it is, hashed, inflated, hashed again, and written as one file; the end is on the disk. No
//! network, no archive to read, no files to make, no metadata. With the decompressor and the digest that our daemon
//! has, a layer on one thread, as many at a time as there are cores.
//!
//! Of a push it is what the registry does: each layer sent by `sendfile(2)` on a connection of its own, all at once.

use crate::cost::{Cost, claim_memory};
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, BufRead as _, BufReader, Read, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    sync::Mutex,
    thread,
    time::Instant,
};

/// Bytes at a time.
const CHUNK: usize = 256 << 10;

/// Takes `layers` to `target`, which is empty.
pub(crate) fn unpack(layers: &[PathBuf], target: &Path) -> Cost {
    let cores = thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(layers.iter().enumerate());
    claim_memory();
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

/// Sends `layers`, files of a registry's store, to the registry at `address`, which has none of them.
pub(crate) fn push(layers: &[PathBuf], address: &str) -> Cost {
    claim_memory();
    let (start, before) = (Instant::now(), used());
    thread::scope(|scope| {
        for layer in layers {
            scope.spawn(|| push_layer(layer, address));
        }
    });
    Cost { wall: start.elapsed().as_secs_f64(), cpu: used() - before }
}

fn push_layer(layer: &Path, address: &str) {
    // `sha256/ab/abc…/data`
    let digest = layer.parent().and_then(Path::file_name).and_then(|name| name.to_str()).expect("a digest");
    let file = File::open(layer).expect("open the layer");
    let size = file.metadata().expect("the layer's size").len();
    let mut stream = TcpStream::connect(address).expect("connect to the registry");
    write!(stream, "POST /v2/floor/blobs/uploads/ HTTP/1.1\r\nHost: {address}\r\nContent-Length: 0\r\n\r\n")
        .expect("ask");
    let location = answer(&stream, "202").expect("a place to upload to");
    let request = format!("PUT {location}&digest=sha256:{digest} HTTP/1.1\r\nHost: {address}\r\n");
    write!(stream, "{request}Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n").expect("ask");
    let mut left = size;
    while left > 0 {
        let most = usize::try_from(left).expect("a size");
        let sent = rustix::fs::sendfile(&stream, &file, None, most).expect("send the layer");
        assert!(sent > 0, "the layer became shorter");
        left -= sent as u64;
    }
    answer(&stream, "201");
}

/// Reads an answer without a body, which must have this status; its `Location`.
fn answer(stream: &TcpStream, status: &str) -> Option<String> {
    let mut lines = BufReader::new(stream).lines().map(|line| line.expect("an answer"));
    let first = lines.next().expect("an answer");
    assert_eq!(first.split(' ').nth(1), Some(status), "{first}");
    let headers = lines.take_while(|line| !line.is_empty());
    headers.filter_map(|line| line.strip_prefix("Location: ").map(str::to_owned)).last()
}

/// Processor seconds of this process.
fn used() -> f64 {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    used.tv_sec as f64 + used.tv_nsec as f64 / 1e9
}

fn unpack_layer(layer: &Path, to: &Path) {
    let mut blob = Hashed { hash: Sha256::new(), file: File::create(to.with_extension("blob")).expect("make a file") };
    let stored = Stored { from: File::open(layer).expect("open the layer"), to: &mut blob };
    let mut inflated = MultiGzDecoder::new(BufReader::with_capacity(CHUNK, stored));
    let mut plain = Hashed { hash: Sha256::new(), file: File::create(to).expect("make a file") };
    let mut buffer = vec![0; CHUNK];
    loop {
        match inflated.read(&mut buffer).expect("inflate") {
            0 => break,
            read => plain.write(&buffer[..read]).expect("write"),
        }
    }
    drop(inflated);
    std::hint::black_box((blob.hash.finalize(), plain.hash.finalize()));
}

/// A file that is hashed as it is written.
struct Hashed {
    hash: Sha256,
    file: File,
}

impl Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.hash.update(bytes);
        self.file.write_all(bytes)
    }
}

/// The blob, kept as it is read.
struct Stored<'a> {
    from: File,
    to: &'a mut Hashed,
}

impl Read for Stored<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(buffer)?;
        self.to.write(&buffer[..read])?;
        Ok(read)
    }
}
