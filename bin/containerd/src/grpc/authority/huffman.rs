//! HPACK's Huffman code (RFC 7541, appendix B).
//!
//! The code is canonical: within a length, codes count up with the symbol, and each length
//! goes on where the one before ended. So the lengths alone define it.

/// Length in bits of each byte's code. The end-of-string symbol, all ones, is not needed.
#[rustfmt::skip]
const LENGTHS: [u8; 256] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28,
    28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11,
    10, 10, 8, 11, 8, 6, 6, 6, 5, 5, 5, 6, 6, 6, 6, 6, 6, 6, 7, 8,
    15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5,
    6, 5, 6, 6, 6, 5, 7, 7, 6, 6, 6, 5, 6, 7, 6, 5, 5, 6, 7, 7,
    7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22, 23, 23, 23,
    23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24,
    22, 21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21,
    23, 22, 23, 23, 20, 22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25,
    26, 26, 26, 27, 27, 26, 24, 25, 19, 21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26,
    28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22, 22, 25, 25, 24, 24, 26, 23,
    26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26,
];

const MAX_LENGTH: u8 = 30;

/// Decodes a string; `None` if a code is unknown or the padding is not a prefix of all ones.
pub(super) fn decode(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(bytes.len() * 8 / 5);
    let mut cursor = Cursor::default();
    for byte in bytes {
        for bit in (0..8).rev() {
            if let Some(symbol) = cursor.push(byte >> bit & 1 == 1)? {
                out.push(symbol);
                cursor = Cursor::default();
            }
        }
    }
    (cursor.length < 8 && cursor.code + 1 == 1 << cursor.length).then_some(out)
}

/// `len` times the byte `symbol`, encoded.
pub(super) fn encode_filler(symbol: u8, len: usize) -> Vec<u8> {
    let length = LENGTHS[usize::from(symbol)];
    let code = first_code(length) + rank(symbol);
    let bits = (0..len).flat_map(|_| (0..length).rev().map(move |bit| code >> bit & 1 == 1));
    let bits: Vec<bool> = bits.collect();
    // The last byte is padded with ones.
    bits.chunks(8)
        .map(|chunk| (0..8).fold(0, |byte, at| byte << 1 | u8::from(chunk.get(at).copied().unwrap_or(true))))
        .collect()
}

/// The bits of a code read so far.
#[derive(Default)]
struct Cursor {
    code: u32,
    length: u8,
    /// The first code of this length.
    first: u32,
}

impl Cursor {
    /// The symbol that this bit completes, if any; `None`: there is no such code.
    fn push(&mut self, bit: bool) -> Option<Option<u8>> {
        self.first = (self.first + count(self.length)) << 1;
        self.code = self.code << 1 | u32::from(bit);
        self.length += 1;
        if self.length > MAX_LENGTH {
            return None;
        }
        let rank = self.code.wrapping_sub(self.first);
        if rank >= count(self.length) {
            return Some(None);
        }
        let mut symbols = (0..=u8::MAX).filter(|symbol| LENGTHS[usize::from(*symbol)] == self.length);
        Some(symbols.nth(usize::try_from(rank).ok()?))
    }
}

/// How many codes have this length.
fn count(length: u8) -> u32 {
    LENGTHS.iter().map(|&other| u32::from(other == length)).sum()
}

fn first_code(length: u8) -> u32 {
    (1..length).fold(0, |first, shorter| (first + count(shorter)) << 1)
}

/// How many symbols before `symbol` have codes as long as its.
fn rank(symbol: u8) -> u32 {
    let length = LENGTHS[usize::from(symbol)];
    LENGTHS[..usize::from(symbol)].iter().map(|&other| u32::from(other == length)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn decodes_the_examples_of_the_specification() {
        // RFC 7541, C.4.1 and C.6.1.
        let hex = |text: &str| -> Vec<u8> {
            (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
        };
        for (encoded, text) in [
            ("f1e3c2e5f23a6ba0ab90f4ff", "www.example.com"),
            ("a8eb10649cbf", "no-cache"),
            ("aec3771a4b", "private"),
            ("d07abe941054d444a8200595040b8166e082a62d1bff", "Mon, 21 Oct 2013 20:13:21 GMT"),
        ] {
            assert_eq!(decode(&hex(encoded)).as_deref(), Some(text.as_bytes()), "{text}");
        }
        assert_eq!(decode(&[0xff; 4]), None);
        assert_eq!(decode(&[0b0001_1000]), None, "padding of zeros");
    }

    #[test]
    fn filler_decodes_to_itself() {
        for len in [0, 1, 7, 8, 40, 200] {
            let encoded = encode_filler(b'a', len);
            assert_eq!(decode(&encoded), Some(vec![b'a'; len]));
            assert_eq!(encoded.len(), (len * 5).div_ceil(8));
        }
    }
}
