//! A file in pieces, read by a thread.

use bytes::Bytes;
use std::{
    fs::File,
    io::{self, Read as _, Seek as _, SeekFrom},
};
use tokio::sync::mpsc;

/// Pieces between the disk and the network.
const AHEAD: usize = 3;

/// The bytes of `file` from `offset` to `end`, `size` at a time; `on_bytes` hears how far each goes. Dropping it ends
/// the reading.
pub(super) fn chunks(
    mut file: File,
    offset: u64,
    end: u64,
    size: usize,
    on_bytes: impl Fn(u64) + Send + 'static,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut at = offset;
        let mut sought = file.seek(SeekFrom::Start(offset)).map(drop);
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(size).min(size);
            let piece = std::mem::replace(&mut sought, Ok(())).and_then(|()| read(&mut file, len));
            let failed = piece.is_err();
            if sender.blocking_send(piece).is_err() || failed {
                return;
            }
            at += len as u64;
            on_bytes(at);
        }
    });
    receiver
}

/// The next `len` bytes, in memory that nobody had to clear for them.
fn read(file: &mut File, len: usize) -> io::Result<Bytes> {
    let mut piece = Vec::with_capacity(len);
    match file.take(len as u64).read_to_end(&mut piece)? {
        read if read == len => Ok(Bytes::from(piece)),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
