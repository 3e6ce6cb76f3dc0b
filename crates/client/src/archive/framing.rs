//! The blocks of a tar archive around its files: without times or owners, so that equal files give equal archives.

use model::{Error, Result};

/// Bytes of a block of tar.
const BLOCK: usize = 512;

/// What ends an archive.
pub fn end() -> &'static [u8] {
    &[0; 2 * BLOCK]
}

/// What fills a file of `len` bytes up to whole blocks.
pub fn padding(len: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let rest = usize::try_from(len % BLOCK as u64).unwrap_or_default();
    if rest == 0 { &[] } else { &ZEROS[rest..] }
}

/// The header of a folder.
pub(super) fn folder(path: &str) -> Result<[u8; BLOCK]> {
    header(path, 0, 0o755, tar::EntryType::Directory)
}

/// The header of a file of `size` bytes.
pub(super) fn file(path: &str, size: u64, mode: u32) -> Result<[u8; BLOCK]> {
    header(path, size, mode, tar::EntryType::Regular)
}

fn header(path: &str, size: u64, mode: u32, kind: tar::EntryType) -> Result<[u8; BLOCK]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).map_err(|error| Error::io(format!("write {path} to the archive"), error))?;
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(*header.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_filled_up() {
        assert_eq!((padding(0).len(), padding(1).len(), padding(512).len(), padding(1023).len()), (0, 511, 0, 1));
    }
}
