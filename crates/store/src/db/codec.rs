//! How records are written: fields in order, numbers as LEB128, texts with their length.
//!
//! Each record begins with its version. A field added later goes to the end of a record and is read as its
//! default where it is missing, so that old records stay readable; any other change raises the version.

use model::{Any, Error, Labels, Result, Timestamp};
use std::collections::BTreeMap;

/// A thing with a form in the database.
pub(crate) trait Record: Sized {
    /// Version of the form; a record with a higher one is refused.
    const VERSION: u8 = 1;

    /// Writes all but its name, which is the key's last component.
    fn encode(&self, out: &mut Encoder);

    /// Reads what `encode` wrote, for the record called `name`.
    fn decode(name: &str, from: &mut Decoder<'_>) -> Result<Self>;

    /// The whole value.
    fn to_bytes(&self) -> Vec<u8> {
        let mut out = Encoder(vec![Self::VERSION]);
        self.encode(&mut out);
        out.0
    }

    /// From the whole value.
    fn from_bytes(name: &str, bytes: &[u8]) -> Result<Self> {
        let mut from = Decoder::versioned(Self::VERSION, bytes)?;
        Self::decode(name, &mut from).map_err(|error| error.context(format!("metadata of {name:?}")))
    }
}

/// Writes fields.
#[derive(Debug)]
pub(crate) struct Encoder(Vec<u8>);

impl Encoder {
    pub(crate) fn number(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value.to_le_bytes()[0] | 0x80);
            value >>= 7;
        }
        self.0.push(value.to_le_bytes()[0]);
    }

    pub(crate) fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    pub(crate) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(crate) fn time(&mut self, time: Timestamp) {
        // Zigzag, for the few before 1970.
        self.number((time.seconds.cast_unsigned() << 1) ^ (time.seconds >> 63).cast_unsigned());
        self.number(u64::from(time.nanos));
    }

    pub(crate) fn map<V>(&mut self, map: &BTreeMap<String, V>, mut value: impl FnMut(&mut Self, &V)) {
        self.number(map.len() as u64);
        for (key, item) in map {
            self.text(key);
            value(self, item);
        }
    }

    pub(crate) fn labels(&mut self, labels: &Labels) {
        self.map(labels, |out, value| out.text(value));
    }

    pub(crate) fn any(&mut self, any: &Any) {
        self.text(&any.type_url);
        self.bytes(&any.value);
    }

    pub(crate) fn option<V>(&mut self, value: Option<&V>, write: impl FnOnce(&mut Self, &V)) {
        self.number(u64::from(value.is_some()));
        if let Some(value) = value {
            write(self, value);
        }
    }
}

/// Reads fields; past the end there are only zeros and empty texts.
#[derive(Debug)]
pub(crate) struct Decoder<'a>(&'a [u8]);

impl<'a> Decoder<'a> {
    /// Checks the version, and reads what follows it.
    pub(crate) fn versioned(known: u8, bytes: &'a [u8]) -> Result<Self> {
        match bytes.split_first() {
            Some((version, rest)) if (1..=known).contains(version) => Ok(Self(rest)),
            Some((version, _)) => {
                Err(Error::data_loss(format!("metadata: a record has the unknown version {version}")))
            }
            None => Err(Error::data_loss("metadata: a record is empty")),
        }
    }

    pub(crate) fn number(&mut self) -> Result<u64> {
        let mut value = 0;
        for shift in (0..64).step_by(7) {
            let Some((byte, rest)) = self.0.split_first() else { return if shift == 0 { Ok(0) } else { Err(torn()) } };
            self.0 = rest;
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(torn())
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8]> {
        let len = usize::try_from(self.number()?).map_err(|_| torn())?;
        let (bytes, rest) = self.0.split_at_checked(len).ok_or_else(torn)?;
        self.0 = rest;
        Ok(bytes)
    }

    pub(crate) fn str(&mut self) -> Result<&'a str> {
        std::str::from_utf8(self.bytes()?).map_err(|_| torn())
    }

    pub(crate) fn text(&mut self) -> Result<String> {
        self.str().map(str::to_owned)
    }

    pub(crate) fn time(&mut self) -> Result<Timestamp> {
        let zigzag = self.number()?;
        let seconds = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        let nanos = u32::try_from(self.number()?).map_err(|_| torn())?;
        Ok(Timestamp { seconds, nanos })
    }

    pub(crate) fn map<V>(&mut self, mut value: impl FnMut(&mut Self) -> Result<V>) -> Result<BTreeMap<String, V>> {
        let mut map = BTreeMap::new();
        for _ in 0..self.number()? {
            map.insert(self.text()?, value(self)?);
        }
        Ok(map)
    }

    pub(crate) fn labels(&mut self) -> Result<Labels> {
        self.map(Self::text)
    }

    /// Visits a map's entries without copying them.
    pub(crate) fn pairs(&mut self, mut visit: impl FnMut(&'a str, &'a str)) -> Result<()> {
        for _ in 0..self.number()? {
            visit(self.str()?, self.str()?);
        }
        Ok(())
    }

    pub(crate) fn any(&mut self) -> Result<Any> {
        Ok(Any { type_url: self.text()?, value: self.bytes()?.to_vec() })
    }

    pub(crate) fn option<V>(&mut self, read: impl FnOnce(&mut Self) -> Result<V>) -> Result<Option<V>> {
        if self.number()? == 0 { Ok(None) } else { read(self).map(Some) }
    }
}

fn torn() -> Error {
    Error::data_loss("metadata: a record is torn")
}
