//! The floor below every pull: the same bytes through inflate, sha256 and the disk, and nothing else.
//!
//! Each layer is copied as it is, hashed, inflated, hashed again, and written as one file; the end is on the disk. No
//! network, no archive to read, no files to make, no metadata. With the decompressor and the digest that our daemon
//! has, a layer on one thread, as many at a time as there are cores.

use crate::cost::Cost;
use flate2::read::MultiGzDecoder;
use sha2::{Digest as _, Sha256};
use std::{
    fs::File,
    io::{self, BufReader, Read, Write as _},
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
