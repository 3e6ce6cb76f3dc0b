//! PAX records (`length key=value\n`): read leniently where Go's `archive/tar` is, and written.

use super::{Time, Xattr, header::invalid};
use model::{Error, Result};

const XATTR: &[u8] = b"SCHILY.xattr.";

/// What the records before an entry say about it. A missing or empty value leaves the header's.
#[derive(Debug, Default)]
pub(super) struct Records {
    pub(super) path: Option<Vec<u8>>,
    pub(super) link: Option<Vec<u8>>,
    pub(super) size: Option<u64>,
    pub(super) uid: Option<u64>,
    pub(super) gid: Option<u64>,
    pub(super) mtime: Option<Time>,
    pub(super) atime: Option<Time>,
    /// In the order of the archive: of several values of one name, the last counts.
    pub(super) xattrs: Vec<Xattr>,
    pub(super) sparse: Sparse,
}

/// GNU's sparse files in PAX: three formats, told apart by the records present.
#[derive(Debug, Default)]
pub(super) struct Sparse {
    /// `GNU.sparse.major` and `.minor`.
    pub(super) version: (u64, u64),
    pub(super) name: Option<Vec<u8>>,
    pub(super) real_size: Option<u64>,
    /// Alternating offsets and lengths (formats 0.0 and 0.1).
    pub(super) map: Vec<u64>,
}

impl Records {
    /// Reads the records in `bytes`; a later one replaces an earlier one of its key.
    pub(super) fn parse(mut bytes: &[u8]) -> Result<Self> {
        let mut records = Self::default();
        while !bytes.is_empty() {
            let (key, value, rest) = record(bytes).ok_or_else(|| invalid("malformed PAX record"))?;
            records.add(key, value).map_err(|error| {
                error.context(format!("PAX record {:?}", String::from_utf8_lossy(&key[..key.len().min(64)])))
            })?;
            bytes = rest;
        }
        Ok(records)
    }

    fn add(&mut self, key: &[u8], value: &[u8]) -> Result<()> {
        let text = || if value.contains(&0) { Err(invalid("null byte in a name")) } else { Ok(non_empty(value)) };
        match key {
            b"path" => self.path = text()?,
            b"linkpath" => self.link = text()?,
            b"size" => self.size = decimal(value)?,
            b"uid" => self.uid = decimal(value)?,
            b"gid" => self.gid = decimal(value)?,
            b"mtime" => self.mtime = time(value)?,
            b"atime" => self.atime = time(value)?,
            b"GNU.sparse.major" => self.sparse.version.0 = decimal(value)?.unwrap_or(0),
            b"GNU.sparse.minor" => self.sparse.version.1 = decimal(value)?.unwrap_or(0),
            b"GNU.sparse.name" => self.sparse.name = text()?,
            b"GNU.sparse.size" | b"GNU.sparse.realsize" => self.sparse.real_size = decimal(value)?,
            b"GNU.sparse.map" => {
                let numbers =
                    value.split(|byte| *byte == b',').map(|number| decimal(number).map(Option::unwrap_or_default));
                self.sparse.map = numbers.collect::<Result<_>>()?;
            }
            // Format 0.0 repeats these two; there is no other key of which all values count.
            b"GNU.sparse.offset" | b"GNU.sparse.numbytes" => {
                let is_offset = key.ends_with(b"offset");
                if self.sparse.map.len().is_multiple_of(2) != is_offset {
                    return Err(invalid("sparse offset without length"));
                }
                self.sparse.map.push(decimal(value)?.unwrap_or(0));
            }
            _ => {
                if let Some(name) = key.strip_prefix(XATTR) {
                    self.xattrs.push((name.to_vec(), value.to_vec()));
                }
            }
        }
        Ok(())
    }
}

/// Splits the first record off: its key, its value, the rest.
fn record(bytes: &[u8]) -> Option<(&[u8], &[u8], &[u8])> {
    let space = bytes.iter().take(20).position(|byte| *byte == b' ')?;
    let len: usize = std::str::from_utf8(&bytes[..space]).ok()?.parse().ok()?;
    let body = bytes.get(space + 1..len)?.strip_suffix(b"\n")?;
    let equals = body.iter().position(|byte| *byte == b'=')?;
    let (key, value) = (&body[..equals], &body[equals + 1..]);
    (!key.is_empty() && !key.contains(&0)).then_some((key, value, &bytes[len..]))
}

/// Appends one record to `out`. Its length counts itself.
pub(super) fn write(out: &mut Vec<u8>, key: &[u8], value: &[u8]) {
    let body = key.len() + value.len() + " =\n".len();
    let mut len = body + decimal_digits(body);
    // One more digit may be what makes the length one digit longer.
    if decimal_digits(len) > decimal_digits(body) {
        len = body + decimal_digits(len);
    }
    out.extend_from_slice(len.to_string().as_bytes());
    out.push(b' ');
    out.extend_from_slice(key);
    out.push(b'=');
    out.extend_from_slice(value);
    out.push(b'\n');
}

/// The key of the record of extended attribute `name`, or `None` if no record can hold that.
pub(super) fn xattr_key(name: &[u8]) -> Option<Vec<u8>> {
    (!name.contains(&b'=')).then(|| [XATTR, name].concat())
}

fn decimal_digits(number: usize) -> usize {
    number.checked_ilog10().map_or(1, |digits| digits as usize + 1)
}

fn non_empty(value: &[u8]) -> Option<Vec<u8>> {
    (!value.is_empty()).then(|| value.to_vec())
}

/// A non-negative decimal number, or `None` for an empty value.
fn decimal(value: &[u8]) -> Result<Option<u64>> {
    if value.is_empty() {
        return Ok(None);
    }
    let number = std::str::from_utf8(value).ok().and_then(|text| text.parse().ok());
    // Go keeps these as int64, and so do file systems their sizes.
    number.filter(|number| i64::try_from(*number).is_ok()).map(Some).ok_or_else(|| invalid("not a number"))
}

/// Seconds with an optional fraction, of which nanoseconds are kept.
fn time(value: &[u8]) -> Result<Option<Time>> {
    if value.is_empty() {
        return Ok(None);
    }
    let wrong = || -> Error { invalid("not a time") };
    let text = std::str::from_utf8(value).map_err(|_| wrong())?;
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let seconds: i64 = whole.parse().map_err(|_| wrong())?;
    if !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(wrong());
    }
    let nanos =
        fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |sum, byte| sum * 10 + u32::from(byte - b'0'));
    Ok(Some(if nanos > 0 && whole.starts_with('-') {
        Time { seconds: seconds.checked_sub(1).ok_or_else(wrong)?, nanos: 1_000_000_000 - nanos }
    } else {
        Time { seconds, nanos }
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        for len in [0, 1, 5, 86, 87, 88, 89, 90, 91, 985, 986, 987, 988, 989, 990, 9999] {
            let mut bytes = Vec::new();
            write(&mut bytes, b"SCHILY.xattr.user.k", &vec![0; len]);
            let (key, value, rest) = record(&bytes).unwrap();
            assert_eq!((key, value.len(), rest), (&b"SCHILY.xattr.user.k"[..], len, &b""[..]));
        }
    }

    #[test]
    fn the_last_record_of_a_key_counts_and_an_empty_one_does_not() {
        let mut bytes = Vec::new();
        for (key, value) in [("path", "a"), ("path", "b"), ("size", ""), ("mtime", "-1.25"), ("comment", "x")] {
            write(&mut bytes, key.as_bytes(), value.as_bytes());
        }
        let records = Records::parse(&bytes).unwrap();
        assert_eq!((records.path.as_deref(), records.size), (Some(&b"b"[..]), None));
        assert_eq!(records.mtime, Some(Time { seconds: -2, nanos: 750_000_000 }));
    }

    #[test]
    fn malformed_records_are_refused() {
        for bad in [
            "3 a=b\n",
            "7 a=b\n",
            "6 a=b",
            "6 a=bx",
            "0 a=b\n",
            "-6 a=b\n",
            "6 abc\n",
            "5 =b\n",
            "99999999999999999999 a=b\n",
            "6 a\n",
            "12 size=abc\n",
            "11 size=-1\n",
            "14 mtime=1.x2\n",
            "30 GNU.sparse.numbytes=12345\n",
        ] {
            assert!(Records::parse(bad.as_bytes()).is_err(), "{bad:?}");
        }
        assert!(Records::parse(b"11 path=a\0b\n\n").is_err());
        assert!(Records::parse(b"12 path=a\0bc\n").is_err());
    }
}
