//! A layer compressed otherwise, in one pass.

use crate::archive::{HEAD, decompress};
use crate::content::{Chunks, Expect};
use crate::oci::{Descriptor, media_types};
use crate::progress::{Event, Progress};
use crate::{Client, Hash};
use bytes::{Buf as _, Bytes};
use model::{Digest, Error, Labels, Result};
use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::Arc;
use tokio::sync::mpsc;

/// How a layer is compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// Not at all.
    None,
    /// As gzip.
    Gzip,
    /// As zstd.
    Zstd,
}

/// zstd's own default: smaller than gzip's output, and several times as fast.
const ZSTD_LEVEL: i32 = 3;

/// Bytes looked at to see how a layer is compressed, and read at once.
const BUFFER: usize = 256 << 10;

/// Chunks of the old layer that wait to be read.
const AHEAD: usize = 2;

/// The media type that a layer of type `old` gets; `None` if it is compressed that way already.
pub(super) fn media_type(old: &str, compression: Compression, oci: bool) -> Result<Option<String>> {
    let unknown = |why: &str| Err(Error::invalid_argument(format!("cannot convert a layer of type {old:?}: {why}")));
    if old.contains("encrypted") {
        return unknown("it is encrypted");
    }
    let docker =
        ["application/vnd.docker.image.rootfs.diff.tar", "application/vnd.docker.image.rootfs.foreign.diff.tar"];
    let families = [
        ("application/vnd.oci.image.layer.v1.tar", "+"),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", "+"),
        (docker[0], "."),
        (docker[1], "."),
    ];
    let family = families.iter().find_map(|(base, sign)| Some((base, sign, old.strip_prefix(base)?)));
    let (base, sign, now) = match family {
        Some((base, sign, "")) => (base, sign, Compression::None),
        Some((base, sign, "+gzip" | ".gzip")) => (base, sign, Compression::Gzip),
        Some((base, sign, "+zstd" | ".zstd")) => (base, sign, Compression::Zstd),
        _ => return unknown("it is no tar, or compressed in an unknown way"),
    };
    if now == compression {
        return Ok(None);
    }
    let name = match compression {
        Compression::None => return Ok(Some((*base).to_owned())),
        Compression::Gzip => "gzip",
        Compression::Zstd if docker.contains(base) && !oci => {
            return unknown("Docker's image format has no zstd layers: convert to OCI's as well");
        }
        Compression::Zstd => "zstd",
    };
    Ok(Some(format!("{base}{sign}{name}")))
}

/// Stores what `layer` holds, compressed otherwise. `diff_id` is the digest of that.
pub(crate) async fn convert(
    client: &Client,
    layer: &Descriptor,
    diff_id: &Digest,
    compression: Compression,
    progress: &Arc<dyn Progress>,
) -> Result<Descriptor> {
    progress.on(Event::Blob(&layer.digest, layer.size));
    let reference = format!("convert-{compression:?}-{}", layer.digest);
    let expect = match compression {
        // Known beforehand: if it is there already, nothing is done.
        Compression::None => Expect { digest: Some(diff_id.clone()), ..Expect::default() },
        Compression::Gzip | Compression::Zstd => {
            let labels = Labels::from([(crate::unpack::LABEL_UNCOMPRESSED.to_owned(), diff_id.to_string())]);
            Expect { labels, ..Expect::default() }
        }
    };
    let bytes = feed(client, layer, progress).await?;
    let (what, diff_id) = (format!("layer {}", layer.digest), diff_id.clone());
    let source = Chunks::of_reader(what, Lazy::Closed(Some(Box::new(move || open(bytes, diff_id, compression)))));
    let written = client.write_blob(&reference.to_lowercase(), &expect, source).await;
    let written = written.map_err(|error| error.context(format!("convert layer {}", layer.digest)))?;
    progress.on(Event::Stored(&layer.digest));
    Ok(Descriptor { digest: written.digest, size: written.size, ..layer.clone() })
}

/// The old layer's bytes, read from the store while they are used.
async fn feed(client: &Client, layer: &Descriptor, progress: &Arc<dyn Progress>) -> Result<Fed> {
    let mut blob = client.read_blob(&layer.digest).await?;
    let (sender, receiver) = mpsc::channel(AHEAD);
    let (progress, digest) = (Arc::clone(progress), layer.digest.clone());
    tokio::spawn(async move {
        loop {
            let chunk = blob.next().await.transpose().map(|chunk| chunk.map_err(io::Error::other));
            let Some(chunk) = chunk else { break };
            if let Ok(chunk) = &chunk {
                progress.on(Event::Sent(&digest, chunk.len() as u64));
            }
            let failed = chunk.is_err();
            if sender.send(chunk).await.is_err() || failed {
                break; // nobody reads any more
            }
        }
    });
    Ok(Fed { receiver, chunk: Bytes::new() })
}

/// Bytes that a task sends, read on a thread that may block.
struct Fed {
    receiver: mpsc::Receiver<io::Result<Bytes>>,
    chunk: Bytes,
}

impl Read for Fed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.chunk.is_empty() {
            match self.receiver.blocking_recv() {
                Some(chunk) => self.chunk = chunk?,
                None => return Ok(0),
            }
        }
        let len = buffer.len().min(self.chunk.len());
        self.chunk.copy_to_slice(&mut buffer[..len]);
        Ok(len)
    }
}

type Reader = Box<dyn Read + Send>;
type Opener = Box<dyn FnOnce() -> io::Result<Reader> + Send>;

/// A reader that opens at its first read, on the thread that reads: finding out how a layer is compressed blocks.
enum Lazy {
    Closed(Option<Opener>),
    Open(Reader),
}

impl Read for Lazy {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if let Self::Closed(opener) = self {
            let opener = opener.take().ok_or_else(|| io::Error::other("it could not be opened"))?;
            *self = Self::Open(opener()?);
        }
        match self {
            Self::Open(reader) => reader.read(buffer),
            Self::Closed(_) => Ok(0),
        }
    }
}

/// What the bytes hold, compressed otherwise.
fn open(bytes: impl Read + Send + 'static, diff_id: Digest, compression: Compression) -> io::Result<Reader> {
    let mut bytes = BufReader::with_capacity(BUFFER, bytes);
    let head = bytes.fill_buf()?;
    let head = head[..head.len().min(HEAD)].to_vec();
    let plain: Reader = decompress(&head, bytes)?;
    let checked = Checked { reader: plain, hash: Some(Hash::new(diff_id.algorithm())), expected: diff_id };
    Ok(match compression {
        Compression::None => Box::new(checked),
        Compression::Gzip => Box::new(flate2::read::GzEncoder::new(checked, flate2::Compression::default())),
        Compression::Zstd => Box::new(zstd::stream::read::Encoder::new(checked, ZSTD_LEVEL)?),
    })
}

/// A reader whose end is an error if what it gave was not what it should be.
struct Checked<R> {
    reader: R,
    hash: Option<Hash>,
    expected: Digest,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let len = self.reader.read(buffer)?;
        if len > 0 || buffer.is_empty() {
            if let Some(hash) = &mut self.hash {
                hash.update(&buffer[..len]);
            }
            return Ok(len);
        }
        if let Some(hash) = self.hash.take() {
            let found = hash.finish().map_err(io::Error::other)?;
            if found != self.expected {
                let text = format!("it holds {found}, but the image's config says {}", self.expected);
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
        }
        Ok(0)
    }
}

/// OCI's name for one of Docker's media types; others stay.
pub(super) fn oci_type(docker: &str) -> &str {
    match docker {
        media_types::DOCKER_LIST => media_types::INDEX,
        media_types::DOCKER_MANIFEST => media_types::MANIFEST,
        media_types::DOCKER_CONFIG => media_types::CONFIG,
        media_types::DOCKER_LAYER => "application/vnd.oci.image.layer.v1.tar",
        media_types::DOCKER_LAYER_GZIP => media_types::LAYER_GZIP,
        "application/vnd.docker.image.rootfs.diff.tar.zstd" => "application/vnd.oci.image.layer.v1.tar+zstd",
        "application/vnd.docker.image.rootfs.foreign.diff.tar" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar"
        }
        "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip" => {
            "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip"
        }
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::sha256;

    #[test]
    fn media_types_follow_the_compression() {
        let oci = "application/vnd.oci.image.layer.v1.tar";
        let to = |old: &str, compression| media_type(old, compression, false).unwrap();
        assert_eq!(to(media_types::LAYER_GZIP, Compression::None).as_deref(), Some(oci));
        assert_eq!(to(oci, Compression::Zstd), Some(format!("{oci}+zstd")));
        assert_eq!(to(media_types::LAYER_GZIP, Compression::Gzip), None);
        assert_eq!(to(media_types::DOCKER_LAYER_GZIP, Compression::None).as_deref(), Some(media_types::DOCKER_LAYER));
        let zstd = media_type(media_types::DOCKER_LAYER_GZIP, Compression::Zstd, true).unwrap().unwrap();
        assert_eq!(oci_type(&zstd), format!("{oci}+zstd"));
        for bad in [media_types::DOCKER_LAYER_GZIP, "application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "x/y"] {
            let error = media_type(bad, Compression::Zstd, false).unwrap_err();
            assert!(error.to_string().contains(bad), "{error}");
        }
    }

    #[test]
    fn a_layer_goes_through_every_form_and_stays_what_it_is() {
        let plain: Vec<u8> = (0..300_000_u32).map(|i| (i % 251) as u8).collect();
        let through = |bytes: Vec<u8>, compression| {
            let mut converted = Vec::new();
            let reader = open(io::Cursor::new(bytes), sha256(&plain), compression);
            reader.and_then(|mut reader| reader.read_to_end(&mut converted)).map(|_| converted)
        };
        let gzip = through(plain.clone(), Compression::Gzip).unwrap();
        let zstd = through(gzip.clone(), Compression::Zstd).unwrap();
        assert!(gzip.len() < plain.len() && zstd.len() < plain.len());
        assert_eq!(through(plain.clone(), Compression::Gzip).unwrap(), gzip, "the same bytes every time");
        assert!(through(zstd, Compression::None).unwrap() == plain);
        assert!(through(b"something else".to_vec(), Compression::Gzip).is_err());
        let mut cut = gzip;
        cut.truncate(cut.len() / 2);
        assert!(through(cut, Compression::None).is_err());
    }
}
