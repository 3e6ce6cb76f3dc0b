//! A digest of bytes as they pass.

use model::{Algorithm, Digest, Result};
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// A running hash of one of the algorithms.
#[derive(Debug)]
#[allow(missing_docs, reason = "named as they are")]
pub enum Hash {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hash {
    /// Of nothing yet.
    pub fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    /// Takes in more bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    /// The digest of all of them.
    pub fn finish(self) -> Result<Digest> {
        match self {
            Self::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            Self::Sha384(hash) => Digest::from_hash(Algorithm::Sha384, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_of_its_algorithm() {
        let mut hash = Hash::new(Algorithm::Sha512);
        hash.update(b"x");
        assert!(hash.finish().unwrap().as_str().starts_with("sha512:"));
    }
}
