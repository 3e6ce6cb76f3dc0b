//! Layers: the tar streams an image is made of, into a directory tree ([`apply`]) and out of one ([`diff`]).
//!
//! Both are synchronous, hold a few MiB whatever the layer's size, and name nothing of the store:
//! a layer comes from any [`std::io::Read`] and goes to any [`std::io::Write`].
//! The format is OCI's (image-spec, layer.md); where it leaves room, Go containerd's behaviour decides.

mod apply;
mod chunk;
mod compress;
mod decompress;
mod diff;
mod input;
mod media_type;
mod options;
mod parallel_gzip;
mod pipeline;
mod processor;
mod reach;
mod rooted;
mod service;
mod tar;
mod xattr;

pub use media_type::{Compression, TAR, TAR_GZIP, TAR_ZSTD, is_layer};
pub use options::{Applied, ApplyOptions, DiffOptions, IdMap, IdRange, StreamProcessor, Written};
pub use service::DiffRequest;

pub(crate) use apply::{keeps_marks, reconcile};

use crate::content::Hasher;
use apply::Target;
use compress::Compressor;
use diff::Roots;
use media_type::Compressed;
use model::{Algorithm, Digest, Error, Mount, Result};
use pipeline::Passed;
use std::{
    fs::File,
    io::{Read, Write},
    path::Path,
};
use sys::{fsync::write_back_during, mount::TempMount};

/// Unpacks a layer of `media_type` read from `stream` onto what `mounts` describe.
///
/// Returns the digest and size of the *uncompressed* layer. An overlay's upper directory and a bind mount's source are
/// written directly, without mounting; anything else is mounted for the time it takes.
/// An error leaves what was written so far: the caller drops the snapshot.
pub fn apply(stream: impl Read + Send, media_type: &str, mounts: &[Mount], options: &ApplyOptions) -> Result<Applied> {
    match Target::without_mounting(mounts)? {
        Some(target) => apply_to(stream, media_type, &target, options),
        None if mounts.is_empty() => Err(Error::invalid_argument("apply layer: no mounts")),
        None => {
            let mounted = TempMount::new(mounts)?;
            apply_to(stream, media_type, &Target::directory(mounted.path()), options)
        }
    }
}

/// Refuses a layer of a media type that [`apply`] would refuse.
///
/// # Errors
/// `Unimplemented` if neither we nor a stream processor understands it.
pub fn check_readable(media_type: &str, options: &ApplyOptions) -> Result<()> {
    processor::chain(media_type, options).map(drop)
}

/// Unpacks a layer into the directory `root`, deleting what its whiteouts name.
pub fn apply_to_directory(
    stream: impl Read + Send,
    media_type: &str,
    root: &Path,
    options: &ApplyOptions,
) -> Result<Applied> {
    apply_to(stream, media_type, &Target::directory(root), options)
}

fn apply_to(
    mut stream: impl Read + Send,
    media_type: &str,
    target: &Target,
    options: &ApplyOptions,
) -> Result<Applied> {
    let (chain, compression) = processor::chain(media_type, options)?;
    let algorithm = options.expected.as_ref().map(|(digest, _)| digest.algorithm());
    let unpack = |stream: &mut (dyn Read + Send), algorithm| {
        // A snapshot is made durable when it is committed; most of it should be on its way by then.
        write_back_during(&target.root, || {
            pipeline::run(stream, compression, algorithm, |input| {
                apply::extract(input, target, options.id_map.as_ref())
            })
        })
    };
    let passed = if chain.is_empty() {
        unpack(&mut stream, algorithm)?
    } else {
        let hasher = algorithm.map(Hasher::new);
        let unpack = |output: &mut (dyn Read + Send)| unpack(output, None);
        let (passed, stored) = processor::run(&mut stream, media_type, &chain, options, hasher.as_ref(), unpack)?;
        Passed { stored, ..passed }
    };
    if let (Some((digest, size)), Some(stored)) = (&options.expected, passed.stored)
        && (stored.digest != *digest || stored.size != *size)
    {
        let (was, len) = (stored.digest, stored.size);
        return Err(Error::failed_precondition(format!("layer {digest}, {size} bytes: read {was}, {len} bytes")));
    }
    let applied = Applied { diff_id: passed.plain.digest, size: passed.plain.size };
    if let Some(expected) = options.expected_diff_id.as_ref().filter(|expected| **expected != applied.diff_id) {
        let message = format!("layer has diff id {}, expected {expected}", applied.diff_id);
        return Err(Error::failed_precondition(message));
    }
    if options.sync_fs {
        let sync = || rustix::fs::syncfs(File::open(&target.root)?).map_err(std::io::Error::from);
        sync().map_err(|error| Error::io(format!("sync file system of {}", target.root.display()), error))?;
    }
    Ok(applied)
}

/// Writes the layer of `media_type` (`""` is gzip) that turns `lower` into `upper` to `out`.
pub fn diff(
    lower: &[Mount],
    upper: &[Mount],
    media_type: &str,
    options: &DiffOptions,
    out: impl Write,
) -> Result<Written> {
    let media_type = if media_type.is_empty() { TAR_GZIP } else { media_type };
    let compressed = Compressed::of(media_type)
        .ok_or_else(|| Error::unimplemented(format!("unsupported diff media type: {media_type}")))?;
    let roots = Roots::open(lower, upper)?;
    let plain = Summing::new(Compressor::new(compressed, Summing::new(out))?);
    let plain = diff::write(&roots, options.source_date_epoch, plain)?;
    let (compressor, diff_id, _) = plain.finish()?;
    let (mut out, digest, size) = compressor.finish()?.finish()?;
    out.flush().map_err(|error| Error::io("write layer", error))?;
    Ok(Written { media_type: media_type.to_owned(), digest, size, diff_id })
}

/// Hashes and counts what is written through it.
struct Summing<W> {
    out: W,
    hasher: Hasher,
    size: u64,
}

impl<W: Write> Summing<W> {
    fn new(out: W) -> Self {
        Self { out, hasher: Hasher::new(Algorithm::Sha256), size: 0 }
    }

    fn finish(self) -> Result<(W, Digest, u64)> {
        Ok((self.out, self.hasher.digest()?, self.size))
    }
}

impl<W: Write> Write for Summing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let len = self.out.write(bytes)?;
        self.hasher.update(&bytes[..len]);
        self.size += len as u64;
        Ok(len)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests;
