//! Layers: the tar streams an image is made of, into a directory tree ([`apply`]) and out of one ([`diff`]).
//!
//! Both are synchronous, hold a few MiB whatever the layer's size, and name nothing of the store:
//! a layer comes from any [`std::io::Read`] and goes to any [`std::io::Write`].
//! The format is OCI's (image-spec, layer.md); where it leaves room, Go containerd's behaviour decides.

mod media_type;
mod options;

pub use media_type::{Compression, TAR, TAR_GZIP, TAR_ZSTD, is_layer};
pub use options::{Applied, ApplyOptions, DiffOptions, IdMap, IdRange, StreamProcessor, Written};

use model::{Error, Mount, Result};
use std::io::{Read, Write};

/// Unpacks a layer of `media_type` read from `stream` onto what `mounts` describe.
///
/// Returns the digest and size of the *uncompressed* layer. An overlay's upper directory and a bind mount's source are
/// written directly, without mounting; anything else is mounted for the time it takes.
/// An error leaves what was written so far: the caller drops the snapshot.
pub fn apply(stream: impl Read + Send, media_type: &str, mounts: &[Mount], options: &ApplyOptions) -> Result<Applied> {
    let _ = (stream, mounts, options);
    Err(Error::unimplemented(format!("apply {media_type}: not built yet")))
}

/// Writes the layer of `media_type` (`""` is gzip) that turns `lower` into `upper` to `out`.
pub fn diff(
    lower: &[Mount],
    upper: &[Mount],
    media_type: &str,
    options: &DiffOptions,
    out: impl Write,
) -> Result<Written> {
    let _ = (lower, upper, options, out);
    Err(Error::unimplemented(format!("diff {media_type}: not built yet")))
}
