//! The entries of a tar archive, whoever made it: what stands before one of them takes a bounded amount of memory.
//!
//! The `tar` crate reads long names and PAX records whole, whatever size they claim. So it reads through a [`Bounded`],
//! which ends its reading not far behind the last entry's data, unless there was another entry by then.

use super::files::{entry_path, is_compressed};
use model::{Error, Result};
use std::cell::Cell;
use std::io::{self, BufRead, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::rc::Rc;

/// Most bytes of long names, PAX records and sparse maps before an entry's data, all together: 1 MiB, which Go's
/// `archive/tar` allows for each of them.
const MAX_EXTENSIONS: u64 = 1 << 20;
/// Most bytes of headers around those, and of what fills the blocks.
const HEADERS: u64 = 8 * 512;
/// Most memory a zstd frame may ask for, by its logarithm: 512 MiB, as Go containerd's decoder allows.
const ZSTD_WINDOW_LOG_MAX: u32 = 29;

/// What `input` holds; its first bytes, `head`, tell how it is compressed.
///
/// # Errors
/// Those of the decompressor.
pub fn decompress<'a>(head: &[u8], input: impl BufRead + Send + 'a) -> io::Result<Box<dyn Read + Send + 'a>> {
    if !is_compressed(head) {
        return Ok(Box::new(input));
    }
    if head.starts_with(&[0x1f]) {
        return Ok(Box::new(flate2::bufread::MultiGzDecoder::new(input)));
    }
    let mut zstd = zstd::stream::read::Decoder::with_buffer(input)?;
    zstd.window_log_max(ZSTD_WINDOW_LOG_MAX)?;
    Ok(Box::new(zstd))
}

/// An entry, from which its data is read.
pub type Entry<'a, R> = tar::Entry<'a, Bounded<R>>;

/// Visits each entry of the archive `tar`, called `what`, with its path in its shortest form, until `visit` breaks.
///
/// # Errors
/// `InvalidArgument`, naming the entry before it, for an entry with more than 1 MiB of names and attributes; what
/// `broken` makes of an archive that cannot be read; those of `visit`.
pub fn each_entry<R: Read>(
    what: &str,
    tar: R,
    broken: impl Fn(io::Error) -> Error,
    visit: impl FnMut(String, &mut Entry<'_, R>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let (mut tar, bound) = bounded(tar);
    walk(what, &bound, tar.entries().map_err(&broken)?, &broken, visit)
}

/// The same for an archive that can be gone through by its headers alone, from its beginning.
///
/// # Errors
/// As [`each_entry`].
pub fn each_entry_with_seek<R: Read + Seek>(
    what: &str,
    tar: R,
    broken: impl Fn(io::Error) -> Error,
    visit: impl FnMut(String, &mut Entry<'_, R>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let (mut tar, bound) = bounded(tar);
    walk(what, &bound, tar.entries_with_seek().map_err(&broken)?, &broken, visit)
}

fn bounded<R: Read>(inner: R) -> (tar::Archive<Bounded<R>>, Rc<Bound>) {
    let bound = Rc::new(Bound::default());
    (tar::Archive::new(Bounded { inner, bound: Rc::clone(&bound) }), bound)
}

fn walk<R: Read>(
    what: &str,
    bound: &Bound,
    entries: tar::Entries<'_, Bounded<R>>,
    broken: &impl Fn(io::Error) -> Error,
    mut visit: impl FnMut(String, &mut Entry<'_, R>) -> Result<ControlFlow<()>>,
) -> Result<()> {
    let mut last = None;
    for entry in entries {
        let place =
            || last.as_ref().map_or_else(|| "the first entry".to_owned(), |last| format!("the entry after {last:?}"));
        let mut entry = entry.map_err(|error| match bound.was_hit.get() {
            true => Error::invalid_argument(format!(
                "{what}: {} has more than {MAX_EXTENSIONS} bytes of names and attributes",
                place()
            )),
            false => broken(error).context(place()),
        })?;
        bound.end.set(entry.raw_file_position().saturating_add(stored_size(&mut entry).map_err(broken)?));
        let path = entry_path(what, &entry.path().map_err(broken)?)?;
        last = Some(path.clone());
        if visit(path, &mut entry)?.is_break() {
            break;
        }
    }
    Ok(())
}

/// How many bytes of the archive are the entry's data, at most. A sparse file's own size counts its holes.
fn stored_size<R: Read>(entry: &mut Entry<'_, R>) -> io::Result<u64> {
    if !entry.header().entry_type().is_gnu_sparse() {
        return Ok(entry.size());
    }
    // Records may say something else again than the header does: no program writes both.
    if entry.pax_extensions()?.is_some() { Ok(0) } else { entry.header().entry_size() }
}

/// How far an archive may be read.
#[derive(Debug, Default)]
struct Bound {
    /// Where we are, in bytes.
    at: Cell<u64>,
    /// Where the current entry's data ends.
    end: Cell<u64>,
    /// Whether somebody wanted to read beyond what may follow there.
    was_hit: Cell<bool>,
}

/// An archive that is read only as far as its current entry allows.
#[derive(Debug)]
pub struct Bounded<R> {
    inner: R,
    bound: Rc<Bound>,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let Bound { at, end, was_hit } = &*self.bound;
        let left = end.get().saturating_add(MAX_EXTENSIONS + HEADERS).saturating_sub(at.get());
        if left == 0 && !buffer.is_empty() {
            was_hit.set(true);
            return Err(io::Error::other("too much before an entry"));
        }
        let len = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..len])?;
        at.set(at.get() + read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = self.inner.seek(to)?;
        self.bound.at.set(at);
        Ok(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A header of type `flag` called `name`, and `data`.
    fn entry(flag: u8, name: &str, data: &[u8]) -> Vec<u8> {
        let mut header = tar::Header::new_gnu();
        header.set_path(name).unwrap();
        header.set_entry_type(tar::EntryType::new(flag));
        header.set_size(data.len() as u64);
        header.set_mode(0o644);
        header.set_cksum();
        [header.as_bytes(), data, super::super::padding(data.len() as u64)].concat()
    }

    fn archive(extensions: &[(u8, usize)]) -> Vec<u8> {
        let mut all = entry(b'0', "blobs/first", &vec![1; 3 << 20]);
        for (flag, len) in extensions {
            let data = if *flag == b'x' {
                format!("{len} comment={}\n", "c".repeat(len - 10 - len.to_string().len())).into_bytes()
            } else {
                vec![b'n'; *len]
            };
            all.extend(entry(*flag, "long", &data));
        }
        all.extend(entry(b'0', "second", b"2"));
        all.extend([0; 1024]);
        all
    }

    fn paths(tar: &[u8], seek: bool) -> Result<Vec<String>> {
        let mut paths = Vec::new();
        let broken = |error: io::Error| Error::internal("broken").caused_by(error);
        let mut add = |path: String| {
            paths.push(path);
            Ok(ControlFlow::Continue(()))
        };
        match seek {
            true => each_entry_with_seek("it", io::Cursor::new(tar), broken, |path, _| add(path))?,
            false => each_entry("it", tar, broken, |path, _| add(path))?,
        }
        Ok(paths)
    }

    #[test]
    fn names_and_records_are_bounded() {
        const MIB: usize = 1 << 20;
        for seek in [false, true] {
            for flag in [b'L', b'K', b'x'] {
                let error = paths(&archive(&[(flag, MIB + (8 << 10))]), seek).unwrap_err();
                assert_eq!(error.kind(), model::Kind::InvalidArgument, "{error}");
                assert!(error.to_string().contains("after \"blobs/first\" has more than 1048576 bytes"), "{error}");
            }
            // Together, too.
            assert!(paths(&archive(&[(b'K', MIB / 2), (b'x', MIB / 2 + (8 << 10))]), seek).is_err());
            // What Go takes, and data of any size.
            for extensions in [&[(b'x', MIB)][..], &[(b'K', MIB / 2), (b'x', MIB / 2)], &[]] {
                assert_eq!(paths(&archive(extensions), seek).unwrap(), ["blobs/first", "second"]);
            }
            // Of a global header nothing is kept, so it is data.
            assert_eq!(paths(&archive(&[(b'g', 2 * MIB)]), seek).unwrap(), ["blobs/first", "long", "second"]);
        }
    }

    #[test]
    fn a_sparse_file_is_passed_over() {
        let mut sparse = entry(b'S', "sparse", &vec![0; 2 << 20]);
        // Its one part begins after a hole of 4 GiB.
        sparse[386..398].copy_from_slice(format!("{:011o}\0", 1u64 << 32).as_bytes());
        sparse[398..410].copy_from_slice(format!("{:011o}\0", 2 << 20).as_bytes());
        sparse[483..495].copy_from_slice(format!("{:011o}\0", (1u64 << 32) + (2 << 20)).as_bytes());
        sparse[148..156].fill(b' ');
        let sum: u32 = sparse[..512].iter().map(|byte| u32::from(*byte)).sum();
        sparse[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        for seek in [false, true] {
            let tar = [sparse.clone(), archive(&[])].concat();
            assert_eq!(paths(&tar, seek).unwrap(), ["sparse", "blobs/first", "second"]);
        }
    }

    #[test]
    fn what_is_compressed_is_told_by_its_head() {
        let gzip = {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
            io::Write::write_all(&mut encoder, b"bytes").unwrap();
            encoder.finish().unwrap()
        };
        // A zstd frame with a window of 512 MiB, and one raw block.
        let zstd = [&[0x28, 0xb5, 0x2f, 0xfd, 0, 19 << 3, 5 << 3 | 1, 0, 0][..], b"bytes"].concat();
        for input in [b"bytes".to_vec(), gzip, zstd] {
            let mut plain = Vec::new();
            decompress(&input[..4], &input[..]).unwrap().read_to_end(&mut plain).unwrap();
            assert_eq!(plain, b"bytes");
        }
    }
}
