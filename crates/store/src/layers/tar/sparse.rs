//! Sparse files: which parts of a file the archive has. Three PAX formats and the old GNU one.

use super::{
    MAX_EXTENSION,
    header::{BLOCK, Block, gnu_sparse_parts, invalid},
    reader::truncated,
};
use crate::layers::input::Input;
use model::{Error, Result};

/// Offset and length of each part of the file, in order.
pub(super) type Map = Vec<(u64, u64)>;

/// Checks `map` against the file's size and the number of bytes of data in the archive.
pub(super) fn validate(map: &Map, real_size: u64, data: u64) -> Result<()> {
    let mut end = 0;
    let mut total: u64 = 0;
    for (offset, len) in map {
        let next = offset.checked_add(*len).filter(|next| *offset >= end && *next <= real_size);
        end = next.ok_or_else(|| invalid("sparse map out of order or beyond the file's end"))?;
        total += len;
    }
    if total == data { Ok(()) } else { Err(invalid("sparse map does not match the data")) }
}

/// Pairs of a list of alternating offsets and lengths.
pub(super) fn pairs(numbers: &[u64]) -> Result<Map> {
    let (pairs, rest) = numbers.as_chunks::<2>();
    if !rest.is_empty() {
        return Err(invalid("sparse offset without length"));
    }
    Ok(pairs.iter().map(|[offset, len]| (*offset, *len)).collect())
}

/// Reads the blocks that continue an old GNU map.
pub(super) fn read_gnu(input: &mut Input, map: &mut Map) -> Result<()> {
    for _ in 0..MAX_EXTENSION / BLOCK as u64 {
        let block = read_block(input)?;
        map.extend(gnu_sparse_parts(&block[..504])?);
        if block[504] == 0 {
            return Ok(());
        }
    }
    Err(invalid("sparse map is too large"))
}

/// Reads the map that format 1.0 puts before the data: decimal numbers, one a line, padded to a whole block.
///
/// Returns the map and how many bytes of the entry's data it took.
pub(super) fn read_pax(input: &mut Input, size: u64) -> Result<(Map, u64)> {
    let mut numbers = Numbers { input, text: Vec::new(), at: 0, taken: 0, limit: size.min(MAX_EXTENSION) };
    let count = numbers.next()?;
    // A number takes two bytes at least, so a count beyond this cannot be met.
    if count > MAX_EXTENSION / 4 {
        return Err(invalid("sparse map is too large"));
    }
    let map = (0..count).map(|_| Ok((numbers.next()?, numbers.next()?))).collect::<Result<_>>()?;
    Ok((map, numbers.taken))
}

struct Numbers<'a> {
    input: &'a mut Input,
    text: Vec<u8>,
    at: usize,
    taken: u64,
    limit: u64,
}

impl Numbers<'_> {
    fn next(&mut self) -> Result<u64> {
        let end = loop {
            match self.text[self.at..].iter().position(|byte| *byte == b'\n') {
                Some(end) => break self.at + end,
                None if self.taken >= self.limit => return Err(invalid("sparse map has no end")),
                None => {
                    self.text.drain(..self.at);
                    self.at = 0;
                    self.text.extend_from_slice(&read_block(self.input)?);
                    self.taken += BLOCK as u64;
                }
            }
        };
        let digits = std::str::from_utf8(&self.text[self.at..end]).ok();
        self.at = end + 1;
        digits.and_then(|digits| digits.parse().ok()).ok_or_else(|| invalid("sparse map: not a number"))
    }
}

fn read_block(input: &mut Input) -> Result<Block> {
    let mut block = [0; BLOCK];
    match input.read(&mut block).map_err(|error| Error::io("read layer", error))? {
        BLOCK => Ok(block),
        _ => Err(truncated("sparse map")),
    }
}
