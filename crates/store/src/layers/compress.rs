//! Compression of the layers we write. The same bytes in give the same bytes out, whatever the machine.

use super::{media_type::Compressed, parallel_gzip::ParallelGzip};
use model::{Error, Result};
use std::io::{self, Write};

/// zstd's own default, which is also what Go containerd's encoder is nearest to.
const ZSTD_LEVEL: i32 = 3;

/// Compresses what is written to it.
pub(super) enum Compressor<W: Write> {
    Plain(W),
    Gzip(ParallelGzip<W>),
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    pub(super) fn new(compression: Compressed, out: W) -> Result<Self> {
        let begin = || -> io::Result<Self> {
            Ok(match compression {
                Compressed::None => Self::Plain(out),
                Compressed::Gzip => Self::Gzip(ParallelGzip::new(out)?),
                Compressed::Zstd => {
                    let mut encoder = zstd::Encoder::new(out, ZSTD_LEVEL)?;
                    encoder.include_checksum(true)?;
                    Self::Zstd(encoder)
                }
            })
        };
        begin().map_err(|error| Error::io("begin to compress layer", error))
    }

    /// Writes what is left.
    pub(super) fn finish(self) -> Result<W> {
        match self {
            Self::Plain(out) => Ok(out),
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(zstd) => zstd.finish(),
        }
        .map_err(|error| Error::io("write layer", error))
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(out) => out.write(bytes),
            Self::Gzip(gzip) => gzip.write(bytes),
            Self::Zstd(zstd) => zstd.write(bytes),
        }
    }

    /// Does nothing: a flush in the middle would only make the layer larger.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
