//! Entries of a tar stream, one after the other.

use super::{
    Entry, Kind, MAX_EXTENSION,
    header::{BLOCK, Block, Flag, Header, invalid},
    pax::Records,
    sparse,
};
use crate::layers::input::Input;
use model::{Error, Result};

/// An archive that ends where it may not.
pub(super) fn truncated(inside: impl std::fmt::Display) -> Error {
    Error::unknown(format!("unexpected end of layer in {inside}"))
}

/// Reads a tar stream.
#[derive(Debug)]
pub(in crate::layers) struct Reader<'a> {
    input: &'a mut Input,
    /// Bytes of the current entry's data not read yet.
    data: u64,
    /// Bytes after them up to the next block.
    padding: u64,
}

/// What the extensions before an entry said.
#[derive(Default)]
struct Extensions {
    name: Option<Vec<u8>>,
    link: Option<Vec<u8>>,
    pax: Records,
    any: bool,
}

impl<'a> Reader<'a> {
    pub(in crate::layers) fn new(input: &'a mut Input) -> Self {
        Self { input, data: 0, padding: 0 }
    }

    /// The next entry, or `None` at the end of the archive: two blocks of zeros, or the end of the stream.
    pub(in crate::layers) fn next_entry(&mut self) -> Result<Option<Entry>> {
        let mut extensions = Extensions::default();
        loop {
            self.skip_data()?;
            let Some(block) = self.header_block()? else {
                return if extensions.any { Err(truncated("an extended header")) } else { Ok(None) };
            };
            let header = Header::new(&block)?;
            match header.flag() {
                Flag::Entry(kind) => return self.entry(&header, kind, extensions).map(Some),
                Flag::GnuSparse => return self.gnu_sparse_entry(&header, extensions).map(Some),
                Flag::Pax => extensions.pax = Records::parse(&self.extension(&header)?)?,
                Flag::LongName => extensions.name = Some(until_null(self.extension(&header)?)),
                Flag::LongLink => extensions.link = Some(until_null(self.extension(&header)?)),
                // Go containerd ignores global records too; it is bounded all the same.
                Flag::PaxGlobal => {
                    self.extension(&header)?;
                    continue;
                }
                Flag::Other(flag) => {
                    let path = String::from_utf8_lossy(&header.path()).into_owned();
                    return Err(Error::unknown(format!("{path:?}: unhandled tar header type {flag}")));
                }
            }
            extensions.any = true;
        }
    }

    /// The next bytes of the current entry's data, at most `limit`; none once it is all read.
    pub(in crate::layers) fn data(&mut self, limit: u64) -> Result<&[u8]> {
        let limit = usize::try_from(limit.min(self.data)).unwrap_or(usize::MAX);
        if limit == 0 {
            return Ok(&[]);
        }
        let bytes = self.input.next(limit).map_err(|error| Error::io("read layer", error))?;
        if bytes.is_empty() {
            return Err(truncated("a file's data"));
        }
        self.data -= bytes.len() as u64;
        Ok(bytes)
    }

    fn skip_data(&mut self) -> Result<()> {
        let count = self.data + self.padding;
        let skipped = self.input.skip(count).map_err(|error| Error::io("read layer", error))?;
        // Go lets the padding after the last file be missing.
        if skipped < self.data {
            return Err(truncated("a file's data"));
        }
        (self.data, self.padding) = (0, 0);
        Ok(())
    }

    fn begin_data(&mut self, size: u64) {
        self.data = size;
        self.padding = size.wrapping_neg() % BLOCK as u64;
    }

    fn header_block(&mut self) -> Result<Option<Block>> {
        let Some(block) = self.block()? else { return Ok(None) };
        if block.iter().any(|byte| *byte != 0) {
            return Ok(Some(block));
        }
        match self.block()? {
            Some(block) if block.iter().any(|byte| *byte != 0) => Err(invalid("a single block of zeros")),
            _ => Ok(None),
        }
    }

    fn block(&mut self) -> Result<Option<Block>> {
        let mut block = [0; BLOCK];
        match self.input.read(&mut block).map_err(|error| Error::io("read layer", error))? {
            0 => Ok(None),
            BLOCK => Ok(Some(block)),
            _ => Err(truncated("a header")),
        }
    }

    fn extension(&mut self, header: &Header<'_>) -> Result<Vec<u8>> {
        let size = header.size()?;
        if size > MAX_EXTENSION {
            return Err(invalid(format_args!("extended header of {size} bytes, more than {MAX_EXTENSION}")));
        }
        self.begin_data(size);
        // Bounded just above, so it fits.
        let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
        let read = self.input.read(&mut bytes).map_err(|error| Error::io("read layer", error))?;
        self.data -= read as u64;
        if read < bytes.len() { Err(truncated("an extended header")) } else { Ok(bytes) }
    }

    fn entry(&mut self, header: &Header<'_>, mut kind: Kind, extensions: Extensions) -> Result<Entry> {
        let Extensions { name, link, mut pax, .. } = extensions;
        let sparse = std::mem::take(&mut pax.sparse);
        let path = pax.path.or(name).unwrap_or_else(|| header.path());
        if header.is_v7_file() && path.ends_with(b"/") {
            kind = Kind::Directory;
        }
        let size = match kind {
            Kind::File => pax.size.map_or_else(|| header.size(), Ok)?,
            // What size these claim is meaningless, and no data follows.
            _ => 0,
        };
        self.begin_data(size);
        let mut entry = Entry {
            kind,
            path,
            link: pax.link.or(link).unwrap_or_else(|| header.link()),
            mode: header.mode()?,
            uid: pax.uid.map_or_else(|| header.uid(), Ok)?,
            gid: pax.gid.map_or_else(|| header.gid(), Ok)?,
            mtime: pax.mtime.map_or_else(|| header.mtime(), Ok)?,
            atime: match pax.atime {
                Some(time) => Some(time),
                None => header.atime()?,
            },
            size,
            device: match kind {
                Kind::CharDevice | Kind::BlockDevice => header.device()?,
                _ => (0, 0),
            },
            xattrs: pax.xattrs,
            sparse: None,
        };
        if kind == Kind::File && (sparse.version == (1, 0) || !sparse.map.is_empty()) {
            self.pax_sparse(&mut entry, sparse)?;
        }
        Ok(entry)
    }

    fn pax_sparse(&mut self, entry: &mut Entry, sparse: super::pax::Sparse) -> Result<()> {
        let map = if sparse.version == (1, 0) {
            let (map, taken) = sparse::read_pax(self.input, entry.size)?;
            // The map is whole blocks, so the padding stays as it is.
            self.data = self.data.checked_sub(taken).ok_or_else(|| invalid("sparse map is longer than its file"))?;
            map
        } else {
            sparse::pairs(&sparse.map)?
        };
        let real_size = sparse.real_size.ok_or_else(|| invalid("sparse file without a size"))?;
        sparse::validate(&map, real_size, self.data)?;
        if let Some(name) = sparse.name {
            entry.path = name;
        }
        (entry.size, entry.sparse) = (real_size, Some(map));
        Ok(())
    }

    fn gnu_sparse_entry(&mut self, header: &Header<'_>, extensions: Extensions) -> Result<Entry> {
        let (mut map, more, real_size) = header.gnu_sparse()?;
        if more {
            sparse::read_gnu(self.input, &mut map)?;
        }
        let mut entry = self.entry(header, Kind::File, extensions)?;
        sparse::validate(&map, real_size, self.data)?;
        // In this format the header's atime field is what it says, and the map follows it.
        (entry.size, entry.sparse) = (real_size, Some(map));
        Ok(entry)
    }
}

fn until_null(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
