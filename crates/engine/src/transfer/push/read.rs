//! A file in pieces, read by a thread.

use bytes::Bytes;
use std::{fs::File, io, os::unix::fs::FileExt as _};
use tokio::sync::mpsc;

/// Pieces between the disk and the network.
const AHEAD: usize = 3;

/// The bytes of `file` from `offset` to `end`, `size` at a time; `on_bytes` hears how far each goes. Dropping it ends
/// the reading.
pub(super) fn chunks(
    file: File,
    offset: u64,
    end: u64,
    size: usize,
    on_bytes: impl Fn(u64) + Send + 'static,
) -> mpsc::Receiver<io::Result<Bytes>> {
    let (sender, receiver) = mpsc::channel(AHEAD);
    tokio::task::spawn_blocking(move || {
        let mut at = offset;
        while at < end {
            let len = usize::try_from(end - at).unwrap_or(size).min(size);
            let mut piece = vec![0; len];
            let read = file.read_exact_at(&mut piece, at).map(|()| Bytes::from(piece));
            let failed = read.is_err();
            if sender.blocking_send(read).is_err() || failed {
                return;
            }
            at += len as u64;
            on_bytes(at);
        }
    });
    receiver
}
