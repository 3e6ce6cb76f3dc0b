//! Digests computed while bytes pass by.

use model::{Algorithm, Digest, Error, Result};
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::io::{ErrorKind, Read};

/// A digest in the making.
#[derive(Clone)]
pub struct Hasher(State);

#[derive(Clone)]
enum State {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hasher {
    /// Of no bytes yet.
    pub fn new(algorithm: Algorithm) -> Self {
        Self(match algorithm {
            Algorithm::Sha256 => State::Sha256(Sha256::new()),
            Algorithm::Sha384 => State::Sha384(Sha384::new()),
            Algorithm::Sha512 => State::Sha512(Sha512::new()),
        })
    }

    /// The algorithm.
    pub fn algorithm(&self) -> Algorithm {
        match self.0 {
            State::Sha256(_) => Algorithm::Sha256,
            State::Sha384(_) => Algorithm::Sha384,
            State::Sha512(_) => Algorithm::Sha512,
        }
    }

    /// Takes in the next bytes.
    pub fn update(&mut self, data: &[u8]) {
        match &mut self.0 {
            State::Sha256(state) => state.update(data),
            State::Sha384(state) => state.update(data),
            State::Sha512(state) => state.update(data),
        }
    }

    /// Takes in everything `source` has, and says how many bytes that was.
    pub fn update_from(&mut self, mut source: impl Read) -> std::io::Result<u64> {
        let mut buffer = vec![0; 1 << 18];
        let mut total = 0;
        loop {
            match source.read(&mut buffer) {
                Ok(0) => return Ok(total),
                Ok(len) => {
                    self.update(&buffer[..len]);
                    total += len as u64;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// The digest of the bytes so far.
    pub fn digest(&self) -> Result<Digest> {
        match self.0.clone() {
            State::Sha256(state) => Digest::from_hash(Algorithm::Sha256, &state.finalize()),
            State::Sha384(state) => Digest::from_hash(Algorithm::Sha384, &state.finalize()),
            State::Sha512(state) => Digest::from_hash(Algorithm::Sha512, &state.finalize()),
        }
        .map_err(|error| Error::internal("compute digest").caused_by(error))
    }
}

impl std::fmt::Debug for Hasher {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Hasher({})", self.algorithm().as_str())
    }
}
