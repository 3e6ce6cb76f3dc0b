//! Extended attributes of any length: the calls want to know beforehand how long.

use rustix::io::Errno;

/// Most bytes the kernel gives for a value or for a list of names (`XATTR_SIZE_MAX`, `XATTR_LIST_MAX`).
const MAX: usize = 64 << 10;

/// The names `list` fills its buffer with.
pub(super) fn list(list: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<Vec<u8>>, Errno> {
    let bytes = get(list)?;
    Ok(bytes.split(|byte| *byte == 0).filter(|name| !name.is_empty()).map(<[u8]>::to_vec).collect())
}

/// The value `get` fills its buffer with.
pub(super) fn get(get: impl Fn(&mut [u8]) -> Result<usize, Errno>) -> Result<Vec<u8>, Errno> {
    let mut small = [0; 512];
    match get(&mut small) {
        Ok(len) => return Ok(small[..len].to_vec()),
        Err(Errno::RANGE) => {}
        Err(errno) => return Err(errno),
    }
    let mut bytes = vec![0; MAX];
    let len = get(&mut bytes)?;
    bytes.truncate(len);
    Ok(bytes)
}
