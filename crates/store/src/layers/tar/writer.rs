//! Writes tar streams: ustar headers, and PAX records for what those cannot hold.
//!
//! The layout is that of Go's `archive/tar`, so that the same tree gives the same DiffID here and with Go containerd.

use super::{
    Kind, MAX_EXTENSION, Xattr,
    header::{BLOCK, Block},
    pax,
};
use model::{Error, Result};
use std::io::Write;

/// An entry to write.
#[derive(Clone, Copy, Debug)]
pub(in crate::layers) struct Member<'a> {
    pub(in crate::layers) kind: Kind,
    /// Relative; a directory's ends with a slash.
    pub(in crate::layers) path: &'a [u8],
    pub(in crate::layers) link: &'a [u8],
    pub(in crate::layers) mode: u32,
    pub(in crate::layers) uid: u32,
    pub(in crate::layers) gid: u32,
    /// Seconds since the epoch.
    pub(in crate::layers) mtime: i64,
    /// Bytes of data that follow.
    pub(in crate::layers) size: u64,
    pub(in crate::layers) device: (u32, u32),
    pub(in crate::layers) xattrs: &'a [Xattr],
}

/// Writes a tar stream to `out`.
#[derive(Debug)]
pub(in crate::layers) struct Writer<W> {
    out: W,
    padding: usize,
}

impl<W: Write> Writer<W> {
    pub(in crate::layers) fn new(out: W) -> Self {
        Self { out, padding: 0 }
    }

    /// Writes the header of `member`; its data is to follow, by [`Writer::data`].
    pub(in crate::layers) fn member(&mut self, member: &Member<'_>) -> Result<()> {
        self.pad()?;
        // Where a record is needed all the same, the path goes into one, too.
        let split = split(member.path).filter(|_| records(member, true).is_empty());
        let records = records(member, split.is_some());
        if !records.is_empty() {
            self.extension(member.path, &records)?;
        }
        let mut block = [0; BLOCK];
        match split {
            Some((prefix, name)) => {
                text(&mut block[..100], name);
                text(&mut block[345..500], prefix);
            }
            None => text(&mut block[..100], member.path),
        }
        text(&mut block[157..257], member.link);
        octal(&mut block[100..108], member.mode.into());
        octal(&mut block[108..116], member.uid.into());
        octal(&mut block[116..124], member.gid.into());
        octal(&mut block[124..136], member.size);
        octal(&mut block[136..148], u64::try_from(member.mtime).unwrap_or(0));
        octal(&mut block[329..337], member.device.0.into());
        octal(&mut block[337..345], member.device.1.into());
        self.header(&mut block, flag(member.kind))?;
        self.padding = padding(member.size);
        Ok(())
    }

    /// Writes data of the last member.
    pub(in crate::layers) fn data(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.write_all(bytes).map_err(|error| Error::io("write layer", error))
    }

    /// Ends the archive.
    pub(in crate::layers) fn finish(mut self) -> Result<W> {
        self.pad()?;
        self.data(&[0; 2 * BLOCK])?;
        Ok(self.out)
    }

    fn pad(&mut self) -> Result<()> {
        let padding = std::mem::take(&mut self.padding);
        self.data(&[0; BLOCK][..padding])
    }

    fn header(&mut self, block: &mut Block, flag: u8) -> Result<()> {
        block[156] = flag;
        block[257..265].copy_from_slice(b"ustar\x0000");
        block[148..156].fill(b' ');
        let sum = block.iter().map(|byte| u64::from(*byte)).sum();
        octal(&mut block[148..155], sum);
        self.data(block)
    }

    fn extension(&mut self, path: &[u8], records: &[u8]) -> Result<()> {
        if records.len() as u64 > MAX_EXTENSION {
            let path = String::from_utf8_lossy(path);
            return Err(Error::out_of_range(format!("{path:?}: names and attributes do not fit into a tar header")));
        }
        let (directory, file) = path.split_at(path.iter().rposition(|byte| *byte == b'/').map_or(0, |slash| slash + 1));
        let mut name = ascii(&[directory, b"PaxHeaders.0/", file].concat());
        name.truncate(100);
        while name.ends_with(b"/") {
            name.pop();
        }
        let mut block = [0; BLOCK];
        text(&mut block[..100], &name);
        octal(&mut block[100..108], 0);
        octal(&mut block[108..116], 0);
        octal(&mut block[116..124], 0);
        octal(&mut block[124..136], records.len() as u64);
        octal(&mut block[136..148], 0);
        self.header(&mut block, b'x')?;
        self.data(records)?;
        self.padding = padding(records.len() as u64);
        self.pad()
    }
}

/// The PAX records `member` needs, ordered by key.
fn records(member: &Member<'_>, path_is_split: bool) -> Vec<u8> {
    let mut records: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
    let mut add = |key: &[u8], value: Vec<u8>| records.push((key.to_vec(), value));
    let needs = |field: &[u8]| field.len() > 100 || !field.is_ascii();
    let number = |number: u64| number.to_string().into_bytes();
    if needs(member.path) && !path_is_split {
        add(b"path", member.path.to_vec());
    }
    if needs(member.link) {
        add(b"linkpath", member.link.to_vec());
    }
    if u64::from(member.uid) >= 1 << 21 {
        add(b"uid", number(member.uid.into()));
    }
    if u64::from(member.gid) >= 1 << 21 {
        add(b"gid", number(member.gid.into()));
    }
    if member.size >= 1 << 33 {
        add(b"size", number(member.size));
    }
    if !(0..1 << 33).contains(&member.mtime) {
        add(b"mtime", member.mtime.to_string().into_bytes());
    }
    for (name, value) in member.xattrs {
        if let Some(key) = pax::xattr_key(name) {
            add(&key, value.clone());
        }
    }
    records.sort();
    let mut bytes = Vec::new();
    for (key, value) in records {
        pax::write(&mut bytes, &key, &value);
    }
    bytes
}

fn flag(kind: Kind) -> u8 {
    match kind {
        Kind::File => b'0',
        Kind::Hardlink => b'1',
        Kind::Symlink => b'2',
        Kind::CharDevice => b'3',
        Kind::BlockDevice => b'4',
        Kind::Directory => b'5',
        Kind::Fifo => b'6',
    }
}

fn padding(size: u64) -> usize {
    // Less than a block, so it fits.
    usize::try_from(size.wrapping_neg() % BLOCK as u64).unwrap_or(0)
}

/// Prefix and name of a path that ustar can hold in two fields but not in one.
fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    if path.len() <= 100 || !path.is_ascii() {
        return None;
    }
    let searched = match path.len() {
        long if long > 156 => 156,
        len if path.ends_with(b"/") => len - 1,
        len => len,
    };
    let slash = path[..searched].iter().rposition(|byte| *byte == b'/').filter(|slash| *slash > 0)?;
    let (prefix, name) = (&path[..slash], &path[slash + 1..]);
    (prefix.len() <= 155 && (1..=100).contains(&name.len())).then_some((prefix, name))
}

/// What ASCII there is in `bytes`; the rest is in a PAX record.
fn ascii(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().filter(|byte| byte.is_ascii() && *byte != 0).collect()
}

fn text(field: &mut [u8], value: &[u8]) {
    let value = ascii(value);
    let len = value.len().min(field.len());
    field[..len].copy_from_slice(&value[..len]);
    // A cut name that happens to end with a slash would be taken for a directory by some readers.
    if value.len() > field.len() {
        let end = field.iter().rposition(|byte| *byte != b'/').map_or(0, |last| last + 1);
        field[end..].fill(0);
    }
}

/// Zero-padded, with a NUL at the end; 0 if it does not fit (a PAX record has it then).
fn octal(field: &mut [u8], value: u64) {
    let digits = field.len() - 1;
    let mut value = if value >> (3 * digits).min(63) == 0 { value } else { 0 };
    for digit in field[..digits].iter_mut().rev() {
        // Three bits, so it fits.
        *digit = b'0' + u8::try_from(value & 7).unwrap_or(0);
        value >>= 3;
    }
    field[digits] = 0;
}
