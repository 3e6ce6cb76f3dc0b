//! Mutations of inputs, drawn from a seed: not as clever as libFuzzer, but the same on every machine.

/// Longest input made, in bytes.
const MAX_LEN: usize = 16 << 10;

/// A source of mutations.
#[derive(Debug)]
pub struct Mutator(u64);

impl Mutator {
    /// The mutations of `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number below `below` (0 if that is 0).
    pub fn below(&mut self, below: usize) -> usize {
        // Constants of Knuth's MMIX; the high bits are the random ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap_or(0) % below.max(1)
    }

    /// One of `seeds`, changed a few times.
    pub fn mutate(&mut self, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
        let mut input = seeds[self.below(seeds.len())].clone();
        for _ in 0..=self.below(6) {
            self.change(&mut input, seeds, words);
        }
        input.truncate(MAX_LEN);
        input
    }

    fn change(&mut self, input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
        let at = self.below(input.len() + 1);
        let most = 1 << self.below(10);
        let len = self.below(most).min(input.len() - at);
        match self.below(8) {
            0 if at < input.len() => input[at] ^= 1 << self.below(8),
            1 if at < input.len() => input[at] = [0, 1, 0x7f, 0x80, 0xff, b'/', b'.', b'"'][self.below(8)],
            2 => drop(input.drain(at..at + len)),
            3 => {
                let copy = input[at..at + len].to_vec();
                let to = self.below(input.len() + 1);
                input.splice(to..to, copy);
            }
            4 => {
                let other = &seeds[self.below(seeds.len())];
                let from = self.below(other.len() + 1);
                input.truncate(at);
                input.extend_from_slice(&other[from..]);
            }
            5 => input.truncate(at),
            6 if !words.is_empty() => {
                let word = words[self.below(words.len())].as_bytes();
                // In place of something or between.
                let end = if self.below(2) == 0 { at } else { (at + word.len()).min(input.len()) };
                input.splice(at..end, word.iter().copied());
            }
            _ => {
                let bytes: Vec<u8> = (0..=self.below(4)).map(|_| u8::try_from(self.below(256)).unwrap_or(0)).collect();
                input.splice(at..at, bytes);
            }
        }
    }
}
