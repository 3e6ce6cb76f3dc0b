//! Decompression, chosen by a stream's first bytes as Go containerd does.
//!
//! gzip streams may have several members, zstd streams several frames and skippable ones (zstd:chunked appends its
//! table of contents as such). Anything else after the end is an error.

use flate2::bufread::MultiGzDecoder;
use std::io::{self, BufRead, Read};

/// Most memory a zstd frame may ask for, by its logarithm: 512 MiB, as Go containerd's decoder allows. It is touched
/// only as far as the frame fills it, and goes with the stream.
const ZSTD_WINDOW_LOG_MAX: u32 = 29;

/// What a stream is compressed with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Plain,
    Gzip,
    Zstd,
}

impl Format {
    /// The format of a stream that begins with `start`.
    pub(super) fn of(start: &[u8]) -> Self {
        match start {
            [0x1f, 0x8b, 0x08, ..] => Self::Gzip,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // A skippable frame: magic 0x184D2A50 to 0x184D2A5F, little endian, then a length.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, _, _, _, _, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }
}

/// The uncompressed bytes of `stream`.
pub(super) fn decoder<'a>(format: Format, stream: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match format {
        Format::Plain => Box::new(stream),
        Format::Gzip => Box::new(Named { name: "gzip", inner: MultiGzDecoder::new(stream) }),
        Format::Zstd => {
            let mut decoder = zstd::Decoder::with_buffer(stream)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
            Box::new(Named { name: "zstd", inner: decoder })
        }
    })
}

/// Says in its errors which decoder they came from.
struct Named<R> {
    name: &'static str,
    inner: R,
}

impl<R: Read> Read for Named<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, format!("{}: {error}", self.name)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(bytes: &[u8]) -> io::Result<Vec<u8>> {
        let mut plain = Vec::new();
        decoder(Format::of(bytes), bytes)?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    #[test]
    fn members_and_frames_are_joined() {
        let members = [gzip(b"one "), gzip(b""), gzip(b"two")].concat();
        assert_eq!(decode(&members).unwrap(), b"one two");

        let skippable = [&0x184D_2A5Au32.to_le_bytes()[..], &3u32.to_le_bytes(), b"toc"].concat();
        let frames = [
            skippable.clone(),
            zstd::encode_all(&b"one "[..], 1).unwrap(),
            skippable.clone(),
            zstd::encode_all(&b"two"[..], 1).unwrap(),
            skippable,
        ]
        .concat();
        assert_eq!(decode(&frames).unwrap(), b"one two");
        assert_eq!(decode(b"plain").unwrap(), b"plain");
        assert_eq!(decode(b"").unwrap(), b"");
    }

    #[test]
    fn windows_of_up_to_512_mib_are_read() {
        let frame = |window_log: u8| {
            // A frame of one raw block: descriptor, window (its exponent less 10, no mantissa), the last block's header.
            let header = [0xfd2f_b528u32.to_le_bytes().to_vec(), vec![0, (window_log - 10) << 3, 4 << 3 | 1, 0, 0]];
            [header.concat(), b"long".to_vec()].concat()
        };
        assert_eq!(decode(&frame(29)).unwrap(), b"long");
        let error = decode(&frame(30)).unwrap_err().to_string();
        assert!(error.starts_with("zstd: ") && error.contains("memory"), "{error}");
    }

    #[test]
    fn cut_and_followed_streams_are_errors() {
        for whole in [gzip(&[7; 5000]), zstd::encode_all(&[7; 5000][..], 1).unwrap()] {
            for cut in [whole.len() / 2, whole.len() - 1] {
                assert!(decode(&whole[..cut]).is_err(), "cut at {cut}");
            }
            assert!(decode(&[&whole[..], b"garbage after the end"].concat()).is_err());
        }
        let error = decode(&gzip(b"x")[..15]).unwrap_err().to_string();
        assert!(error.starts_with("gzip: "), "{error}");
    }
}
