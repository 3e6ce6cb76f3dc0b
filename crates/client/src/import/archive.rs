//! The tar archive: indexed where it is, or read through.

use super::stream;
use crate::Client;
use crate::archive::{Archive, HEAD, Place, each_entry_with_seek, is_compressed, not_a_tar};
use crate::content::{Chunks, Expect, Written};
use crate::progress::Progress;
use model::{Error, Result};
use std::fs::File;
use std::io::Seek as _;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;

/// Indexes `input` if it is a plain file; otherwise reads it through, storing blobs as they come.
pub(crate) async fn open(
    client: &Client,
    what: &str,
    mut input: File,
    progress: &Arc<dyn Progress>,
) -> Result<Archive> {
    let metadata = input.metadata().map_err(|error| Error::io(format!("open {what}"), error))?;
    let at_start = input.stream_position().is_ok_and(|position| position == 0);
    let mut head = [0; HEAD];
    if metadata.is_file() && at_start && (input.read_at(&mut head, 0).is_err() || !is_compressed(&head)) {
        return index(what, input, metadata.len());
    }
    stream::drain(client, what, input, progress).await
}

/// Sees to it that what is at `place` is in the content store, as `expect` says.
pub(crate) async fn store(
    place: &Place,
    client: &Client,
    reference: &str,
    expect: &Expect,
    progress: &Arc<dyn Progress>,
) -> Result<Written> {
    let what = reference.to_owned();
    let mut chunks = match place {
        Place::Range { file, offset, size } => Chunks::of_file(what, file.clone(), *offset, *size),
        Place::Memory(bytes) => Chunks::of(what, bytes.clone()),
        Place::Stored { written, .. } => {
            client.label_blob(&written.digest, expect.labels.clone()).await?;
            return Ok(written.clone());
        }
    };
    if let Some(digest) = &expect.digest {
        chunks = chunks.watched(progress.clone(), digest.clone());
    }
    client.write_blob(reference, expect, chunks).await
}

/// Finds every file by its header alone.
fn index(what: &str, input: File, len: u64) -> Result<Archive> {
    let file = Arc::new(input.try_clone().map_err(|error| Error::io(format!("open {what}"), error))?);
    let mut archive = Archive::new(what);
    let broken = |error| not_a_tar(what, error);
    each_entry_with_seek(what, input, broken, |path, entry| {
        match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let (offset, size) = (entry.raw_file_position(), entry.size());
                if offset.checked_add(size).is_none_or(|end| end > len) {
                    return Err(Error::invalid_argument(format!("{what} is cut short in the middle of {path}")));
                }
                archive.insert(path, Place::Range { file: file.clone(), offset, size })?;
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(broken)?;
                if let Some(target) = target.as_deref().and_then(Path::to_str) {
                    archive.insert_link(&path, target)?;
                }
            }
            _ => {}
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(archive)
}
