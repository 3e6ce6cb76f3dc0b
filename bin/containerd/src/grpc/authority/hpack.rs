//! Just enough HPACK (RFC 7541, section 6) to find `:authority` in a header block.

use super::huffman;
use tonic::codegen::http::uri::Authority;

/// `:authority` in the static table.
const AUTHORITY_INDEX: usize = 1;
const AUTHORITY_NAME: &[u8] = b":authority";
/// Valid in an authority, and among the shortest codes, so that nothing grows.
const FILLER: u8 = b'a';

/// `block` with every invalid `:authority` overwritten by a valid one of the same decoded
/// length. `None`: the block is malformed.
pub(super) fn with_valid_authority(block: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(block.len());
    let mut rest = block;
    while let Some(&first) = rest.first() {
        let start = rest;
        // How many bits of the first byte the index has; an indexed field and a table size
        // have nothing after it.
        let (bits, is_literal) = match first {
            0x80.. => (7, false),
            0x40..0x80 => (6, true),
            0x20..0x40 => (5, false),
            _ => (4, true),
        };
        let index = integer(&mut rest, bits)?;
        if !is_literal {
            out.extend_from_slice(consumed(start, rest));
            continue;
        }
        let mut is_authority = index == AUTHORITY_INDEX;
        if index == 0 {
            is_authority = text(&mut rest)?.is_authority_name();
        }
        out.extend_from_slice(consumed(start, rest));
        let value_start = rest;
        let value = text(&mut rest)?;
        let authority = if is_authority { value.decode()? } else { Vec::new() };
        if authority.is_empty() || Authority::try_from(authority.as_slice()).is_ok() {
            out.extend_from_slice(consumed(value_start, rest));
        } else {
            write_filler(&mut out, authority.len(), value.huffman);
        }
    }
    Some(out)
}

fn consumed<'a>(before: &'a [u8], after: &[u8]) -> &'a [u8] {
    &before[..before.len() - after.len()]
}

fn write_filler(out: &mut Vec<u8>, len: usize, huffman: bool) {
    if huffman {
        let encoded = huffman::encode_filler(FILLER, len);
        write_integer(out, encoded.len(), 7, 0x80);
        out.extend_from_slice(&encoded);
    } else {
        write_integer(out, len, 7, 0);
        out.resize(out.len() + len, FILLER);
    }
}

/// A string literal.
struct Text<'a> {
    huffman: bool,
    bytes: &'a [u8],
}

impl Text<'_> {
    fn is_authority_name(&self) -> bool {
        // Its Huffman code has 57 bits; others need not be decoded.
        if self.huffman {
            self.bytes.len() == 8 && huffman::decode(self.bytes).is_some_and(|name| name == AUTHORITY_NAME)
        } else {
            self.bytes == AUTHORITY_NAME
        }
    }

    fn decode(&self) -> Option<Vec<u8>> {
        if self.huffman { huffman::decode(self.bytes) } else { Some(self.bytes.to_vec()) }
    }
}

fn text<'a>(rest: &mut &'a [u8]) -> Option<Text<'a>> {
    let huffman = rest.first()? & 0x80 != 0;
    let len = integer(rest, 7)?;
    let (bytes, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(Text { huffman, bytes })
}

/// An integer with a prefix of `bits` bits (section 5.1).
fn integer(rest: &mut &[u8], bits: u32) -> Option<usize> {
    let (&first, mut after) = rest.split_first()?;
    let mask = (1_usize << bits) - 1;
    let mut value = usize::from(first) & mask;
    if value == mask {
        for shift in (0..28).step_by(7) {
            let (&byte, next) = after.split_first()?;
            after = next;
            value += usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                *rest = after;
                return Some(value);
            }
        }
        return None;
    }
    *rest = after;
    Some(value)
}

fn write_integer(out: &mut Vec<u8>, value: usize, bits: u32, flags: u8) {
    let mask = (1_usize << bits) - 1;
    // Both fit a byte: `value` is below `mask`, which is at most 127.
    let byte = |value: usize| u8::try_from(value).unwrap_or(u8::MAX);
    if value < mask {
        out.push(flags | byte(value));
        return;
    }
    out.push(flags | byte(mask));
    let mut rest = value - mask;
    while rest >= 0x80 {
        out.push(byte(rest & 0x7f) | 0x80);
        rest >>= 7;
    }
    out.push(byte(rest));
}
