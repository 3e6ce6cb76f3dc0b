//! The 512 bytes every tar entry begins with.

use super::{Kind, Time, sparse::Map};
use model::{Error, Result};

/// Size of a tar block in bytes.
pub(in crate::layers) const BLOCK: usize = 512;

/// One block of a tar stream.
pub(in crate::layers) type Block = [u8; BLOCK];

/// A malformed archive, in words that say what is wrong. Go containerd gives these no code of their own.
pub(super) fn invalid(why: impl std::fmt::Display) -> Error {
    Error::unknown(format!("invalid tar header: {why}"))
}

/// What a header's type flag announces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flag {
    Entry(Kind),
    /// A regular file whose header also says which parts of it follow (old GNU format).
    GnuSparse,
    /// PAX records for the next entry.
    Pax,
    /// PAX records for all entries that follow.
    PaxGlobal,
    /// The next entry's name (GNU).
    LongName,
    /// The next entry's link target (GNU).
    LongLink,
    /// Something else; Go containerd refuses it too.
    Other(u8),
}

/// A header whose checksum is right.
#[derive(Debug)]
pub(super) struct Header<'a> {
    block: &'a Block,
    format: Format,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    V7,
    Ustar,
    Star,
    Gnu,
}

impl<'a> Header<'a> {
    pub(super) fn new(block: &'a Block) -> Result<Self> {
        let header = Self { block, format: Format::of(block) };
        let stated = octal(&block[148..156])?;
        let blanked = |(index, byte): (usize, &u8)| if (148..156).contains(&index) { b' ' } else { *byte };
        let bytes = || block.iter().enumerate().map(blanked);
        let unsigned: u64 = bytes().map(u64::from).sum();
        // Some old programs summed signed characters.
        let signed: i64 = bytes().map(|byte| i64::from(byte.cast_signed())).sum();
        if unsigned != stated && signed != i64::try_from(stated).unwrap_or(i64::MAX) {
            return Err(invalid("checksum does not match"));
        }
        Ok(header)
    }

    /// What follows. A trailing slash makes a directory of the nameless type of the oldest archives.
    pub(super) fn flag(&self) -> Flag {
        match self.block[156] {
            b'0' | 0 => Flag::Entry(Kind::File),
            b'1' => Flag::Entry(Kind::Hardlink),
            b'2' => Flag::Entry(Kind::Symlink),
            b'3' => Flag::Entry(Kind::CharDevice),
            b'4' => Flag::Entry(Kind::BlockDevice),
            b'5' => Flag::Entry(Kind::Directory),
            b'6' => Flag::Entry(Kind::Fifo),
            b'S' => Flag::GnuSparse,
            b'x' => Flag::Pax,
            b'g' => Flag::PaxGlobal,
            b'L' => Flag::LongName,
            b'K' => Flag::LongLink,
            other => Flag::Other(other),
        }
    }

    /// Whether the type flag is that of V7 archives, in which a name with a trailing slash is a directory.
    pub(super) fn is_v7_file(&self) -> bool {
        self.block[156] == 0
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = string(&self.block[..100]);
        let prefix = match self.format {
            Format::Ustar => string(&self.block[345..500]),
            Format::Star => string(&self.block[345..476]),
            Format::V7 | Format::Gnu => &[],
        };
        if prefix.is_empty() { name.to_vec() } else { [prefix, b"/", name].concat() }
    }

    pub(super) fn link(&self) -> Vec<u8> {
        string(&self.block[157..257]).to_vec()
    }

    pub(super) fn mode(&self) -> Result<u32> {
        // Masked, so it fits.
        Ok((number(&self.block[100..108])? & 0o7777) as u32)
    }

    pub(super) fn uid(&self) -> Result<u64> {
        unsigned("uid", number(&self.block[108..116])?)
    }

    pub(super) fn gid(&self) -> Result<u64> {
        unsigned("gid", number(&self.block[116..124])?)
    }

    pub(super) fn size(&self) -> Result<u64> {
        unsigned("size", number(&self.block[124..136])?)
    }

    pub(super) fn mtime(&self) -> Result<Time> {
        Ok(Time { seconds: number(&self.block[136..148])?, nanos: 0 })
    }

    pub(super) fn atime(&self) -> Result<Option<Time>> {
        let field = match self.format {
            Format::Gnu => &self.block[345..357],
            Format::Star => &self.block[476..488],
            Format::V7 | Format::Ustar => return Ok(None),
        };
        if field[0] == 0 {
            return Ok(None);
        }
        Ok(Some(Time { seconds: number(field)?, nanos: 0 }))
    }

    pub(super) fn device(&self) -> Result<(u64, u64)> {
        if self.format == Format::V7 {
            return Ok((0, 0));
        }
        let major = unsigned("device major", number(&self.block[329..337])?)?;
        Ok((major, unsigned("device minor", number(&self.block[337..345])?)?))
    }

    /// The sparse map of the old GNU format: up to four parts, whether more blocks of them follow, the file's size.
    pub(super) fn gnu_sparse(&self) -> Result<(Map, bool, u64)> {
        if self.format != Format::Gnu {
            return Err(invalid("sparse file outside the GNU format"));
        }
        let parts = gnu_sparse_parts(&self.block[386..482])?;
        Ok((parts, self.block[482] != 0, unsigned("size", number(&self.block[483..495])?)?))
    }
}

impl Format {
    /// Go's `archive/tar` does not look at the version after ustar's magic; some programs leave it out.
    fn of(block: &Block) -> Self {
        match (&block[257..263], &block[263..265], &block[508..512]) {
            (b"ustar\0", _, b"tar\0") => Self::Star,
            (b"ustar\0", ..) => Self::Ustar,
            (b"ustar ", b" \0", _) => Self::Gnu,
            _ => Self::V7,
        }
    }
}

/// Parts of a sparse file as the old GNU format lists them, 24 bytes each.
pub(super) fn gnu_sparse_parts(bytes: &[u8]) -> Result<Map> {
    bytes
        .chunks_exact(24)
        .take_while(|part| part[0] != 0)
        .map(|part| Ok((unsigned("offset", number(&part[..12])?)?, unsigned("length", number(&part[12..])?)?)))
        .collect()
}

fn string(field: &[u8]) -> &[u8] {
    field.split(|byte| *byte == 0).next().unwrap_or_default()
}

fn unsigned(what: &str, value: i64) -> Result<u64> {
    u64::try_from(value).map_err(|_| invalid(format_args!("negative {what}")))
}

/// A number in octal or, if the first bit is set, in base 256 (two's complement, GNU).
fn number(field: &[u8]) -> Result<i64> {
    if field[0] & 0x80 == 0 {
        return i64::try_from(octal(field)?).map_err(|_| invalid("number out of range"));
    }
    let negative = field[0] & 0x40 != 0;
    // Inverted if negative, so that overflow shows alike for both signs.
    let invert = if negative { 0xff } else { 0 };
    let mut value: u64 = 0;
    for (index, byte) in field.iter().enumerate() {
        let byte = if index == 0 { (byte ^ invert) & 0x7f } else { byte ^ invert };
        if value >> 56 != 0 {
            return Err(invalid("number out of range"));
        }
        value = value << 8 | u64::from(byte);
    }
    let value = i64::try_from(value).map_err(|_| invalid("number out of range"))?;
    Ok(if negative { !value } else { value })
}

fn octal(field: &[u8]) -> Result<u64> {
    let is_padding = |byte: &u8| matches!(byte, b' ' | 0);
    let start = field.iter().position(|byte| !is_padding(byte)).unwrap_or(field.len());
    let digits = string(&field[start..]).trim_ascii_end();
    digits
        .iter()
        .try_fold(0u64, |value, byte| match byte {
            b'0'..=b'7' => value.checked_mul(8).map(|value| value + u64::from(byte - b'0')),
            _ => None,
        })
        .ok_or_else(|| invalid("not an octal number"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_as_go_reads_them() {
        assert_eq!(number(b"0000644\0").unwrap(), 0o644);
        assert_eq!(number(b" 644 \0\0\0").unwrap(), 0o644);
        assert_eq!(number(b"\0\0\0\0").unwrap(), 0);
        assert_eq!(number(b"\x80\0\0\0\0\0\x01\0").unwrap(), 256);
        assert_eq!(number(&[0xff; 12]).unwrap(), -1);
        assert_eq!(number(b"\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xfe").unwrap(), -2);
        let max = [&[0x80, 0, 0, 0, 0x7f][..], &[0xff; 7]].concat();
        assert_eq!(number(&max).unwrap(), i64::MAX);
        let over = [&[0x80, 0, 0, 0, 0x80][..], &[0; 7]].concat();
        for bad in [&b"0008\0"[..], b"12x4", &over, &[0xbf; 12]] {
            assert!(number(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn formats_are_told_as_go_tells_them() {
        let format = |magic: &[u8], trailer: &[u8]| {
            let mut block = [0; BLOCK];
            block[257..257 + magic.len()].copy_from_slice(magic);
            block[508..508 + trailer.len()].copy_from_slice(trailer);
            Format::of(&block)
        };
        for version in ["00", "\0\0", "  ", "0\0"] {
            let magic = format!("ustar\0{version}");
            assert_eq!(format(magic.as_bytes(), b""), Format::Ustar, "{version:?}");
            assert_eq!(format(magic.as_bytes(), b"tar\0"), Format::Star, "{version:?}");
        }
        assert_eq!(format(b"ustar  \0", b""), Format::Gnu);
        for other in [&b"ustar \0\0"[..], b"ustar00\0", b"USTAR\x0000", b""] {
            assert_eq!(format(other, b"tar\0"), Format::V7, "{other:?}");
        }
    }

    #[test]
    fn a_wrong_checksum_is_refused() {
        let mut block = [0; BLOCK];
        block[0] = b'a';
        block[148..156].copy_from_slice(b"000540\0 ");
        // 'a' is 0o141, eight blanks are 0o400.
        assert!(Header::new(&block).is_err());
        block[148..156].copy_from_slice(b"000541\0 ");
        assert_eq!(Header::new(&block).unwrap().path(), b"a");
    }
}
