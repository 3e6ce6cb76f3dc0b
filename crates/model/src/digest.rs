//! Content digests: `algorithm:hex` (OCI image spec, descriptor.md).

use crate::{Error, Result};
use std::{fmt, str::FromStr};

/// A registered digest algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Algorithm {
    /// SHA-256, the canonical one.
    Sha256,
    /// SHA-384.
    Sha384,
    /// SHA-512.
    Sha512,
}

impl Algorithm {
    /// As written before the colon.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Sha384 => "sha384",
            Self::Sha512 => "sha512",
        }
    }

    /// Length of the hash in hexadecimal digits.
    pub fn hex_len(self) -> usize {
        match self {
            Self::Sha256 => 64,
            Self::Sha384 => 96,
            Self::Sha512 => 128,
        }
    }
}

/// A validated digest. Its text is safe as a path component on either side of the colon.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest(String, Algorithm);

impl Digest {
    /// The digest of algorithm `algorithm` with the raw bytes `hash`.
    pub fn from_hash(algorithm: Algorithm, hash: &[u8]) -> Result<Self> {
        let mut text = format!("{}:", algorithm.as_str());
        for byte in hash {
            use fmt::Write as _;
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text.parse()
    }

    /// The whole text, `sha256:…`.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        self.1
    }

    /// The hexadecimal part.
    pub fn hex(&self) -> &str {
        &self.0[self.1.as_str().len() + 1..]
    }
}

impl FromStr for Digest {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let invalid = |why: &str| Error::invalid_argument(format!("digest {text:?}: {why}"));
        let (name, hex) = text.split_once(':').ok_or_else(|| invalid("invalid checksum digest format"))?;
        let algorithm = match name {
            "sha256" => Algorithm::Sha256,
            "sha384" => Algorithm::Sha384,
            "sha512" => Algorithm::Sha512,
            _ => return Err(invalid("unsupported digest algorithm")),
        };
        if hex.len() != algorithm.hex_len() {
            return Err(invalid("invalid checksum digest length"));
        }
        if !hex.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f')) {
            return Err(invalid("invalid checksum digest format"));
        }
        Ok(Self(text.to_owned(), algorithm))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_the_spec_registers_and_nothing_else() {
        let good = format!("sha256:{}", "ab".repeat(32));
        let digest: Digest = good.parse().unwrap();
        assert_eq!((digest.as_str(), digest.hex().len()), (good.as_str(), 64));
        for bad in ["", "sha256:", "sha256:zz", "md5:00", "sha256:../../etc/passwd"] {
            assert!(bad.parse::<Digest>().is_err(), "{bad}");
        }
        assert!(good.to_uppercase().parse::<Digest>().is_err());
    }
}
