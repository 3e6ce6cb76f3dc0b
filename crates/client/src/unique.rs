//! Names nobody else will make up: for leases, extraction snapshots and fifo folders.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::time::{SystemTime, UNIX_EPOCH};

/// A part of a name: nanoseconds of the clock and random bits, letters and digits only.
pub fn part() -> String {
    let nanos = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.subsec_nanos());
    // The standard library seeds every hasher from the kernel's randomness.
    let random = RandomState::new().build_hasher().finish();
    format!("{nanos:09}-{:08x}", random >> 32)
}
