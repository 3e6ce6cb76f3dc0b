//! An archive that can be read only once: blobs go to the store as they come.

use crate::Client;
use crate::archive::{Archive, HEAD, Place, decompress, digest_of_path, each_entry, not_a_tar};
use crate::content::{CHUNK, Chunks, Expect, Written, fill};
use crate::oci::MAX_DOCUMENT;
use crate::progress::{Event, Progress};
use bytes::Bytes;
use model::{Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Cursor, Read};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Most bytes of documents kept, all together.
const MAX_DOCUMENTS: u64 = 64 << 20;

/// Most blobs whose commit is awaited while the next one is read.
const MAX_PENDING: usize = 4;

/// What the reading thread finds.
enum Found {
    Document(String, Bytes),
    Link(String, String),
    Blob { path: String, size: u64, head: Bytes, chunks: Chunks },
}

/// Reads the whole archive. The reading thread is at most one file and a few chunks ahead.
pub(super) async fn drain(client: &Client, what: &str, input: File, progress: &Arc<dyn Progress>) -> Result<Archive> {
    let (sender, mut found) = mpsc::channel(1);
    let name = what.to_owned();
    let reader = tokio::task::spawn_blocking(move || open(input, &name).and_then(|tar| read(&name, tar, &sender)));
    let mut archive = Archive::new(what);
    let mut uploads = JoinSet::new();
    while let Some(found) = found.recv().await {
        match found {
            Found::Document(path, bytes) => archive.insert(path, Place::Memory(bytes))?,
            Found::Link(path, target) => archive.insert_link(&path, &target)?,
            Found::Blob { path, size, head, chunks } => {
                let expect = Expect { digest: digest_of_path(&path), size: Some(size), ..Expect::default() };
                let chunks = match &expect.digest {
                    Some(digest) => {
                        progress.on(Event::Blob(digest, size));
                        chunks.watched(progress.clone(), digest.clone())
                    }
                    None => chunks,
                };
                let client = client.clone();
                uploads.spawn(async move {
                    let written = client.write_blob(&reference(&path), &expect, chunks).await;
                    written.map(|written| (path, head, written))
                });
                if uploads.len() >= MAX_PENDING {
                    settle(&mut archive, progress, uploads.join_next().await)?;
                }
            }
        }
    }
    while let Some(upload) = uploads.join_next().await {
        settle(&mut archive, progress, Some(upload))?;
    }
    reader.await.map_err(|error| Error::internal(format!("read {what}")).caused_by(error))??;
    Ok(archive)
}

/// The name of the ingest for file `path`, as containerd's own import calls it.
pub(super) fn reference(path: &str) -> String {
    format!("tar-{path}")
}

type Upload = Result<(String, Bytes, Written)>;

fn settle(
    archive: &mut Archive,
    progress: &Arc<dyn Progress>,
    upload: Option<Result<Upload, tokio::task::JoinError>>,
) -> Result<()> {
    let Some(upload) = upload else { return Ok(()) };
    let upload = upload.map_err(|error| Error::internal("store a blob").caused_by(error))?;
    let (path, head, written) = upload.map_err(|error| error.context(format!("import {}", archive.what)))?;
    progress.on(Event::Stored(&written.digest));
    archive.insert(path, Place::Stored { written, head })
}

/// The tar inside a perhaps compressed file.
fn open(mut input: File, what: &str) -> Result<Box<dyn Read + Send>> {
    let mut head = vec![0; HEAD];
    let failed = |error| Error::io(format!("read {what}"), error);
    let len = fill(&mut input, &mut head).map_err(failed)?;
    head.truncate(len);
    let whole = Cursor::new(head.clone()).chain(input);
    decompress(&head, BufReader::with_capacity(256 << 10, whole)).map_err(failed)
}

/// Goes through the archive until its end, or until nobody listens any more.
fn read(what: &str, tar: Box<dyn Read + Send>, sender: &mpsc::Sender<Found>) -> Result<()> {
    let mut documents = 0;
    let broken = |error| not_a_tar(what, error);
    let listened = |listened| Ok(if listened { ControlFlow::Continue(()) } else { ControlFlow::Break(()) });
    each_entry(what, tar, broken, |path, entry| {
        let found = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let size = entry.size();
                match small(entry, size).map_err(broken)? {
                    Start::Whole(bytes) if matches!(bytes.first(), Some(b'{' | b'[')) => {
                        documents += size;
                        if documents > MAX_DOCUMENTS {
                            return Err(Error::invalid_argument(format!(
                                "{what} holds more than {MAX_DOCUMENTS} bytes of documents"
                            )));
                        }
                        Found::Document(path, bytes)
                    }
                    start => return listened(send_blob(sender, path, size, &start, entry)),
                }
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(broken)?;
                match target.as_deref().and_then(Path::to_str) {
                    Some(target) => Found::Link(path, target.to_owned()),
                    None => return listened(true),
                }
            }
            _ => return listened(true),
        };
        listened(sender.blocking_send(found).is_ok())
    })
}

/// The beginning of a file.
enum Start {
    /// The whole of a small one.
    Whole(Bytes),
    /// The first bytes of a large one.
    Part(Bytes),
}

fn small(entry: &mut impl Read, size: u64) -> io::Result<Start> {
    let small = size <= MAX_DOCUMENT;
    let mut bytes = vec![0; if small { usize::try_from(size).unwrap_or_default() } else { CHUNK }];
    let len = fill(entry, &mut bytes)?;
    if len < bytes.len() {
        return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
    }
    Ok(if small { Start::Whole(bytes.into()) } else { Start::Part(bytes.into()) })
}

/// Hands a blob over and feeds it. Returns whether anybody listens for what comes after it.
fn send_blob(sender: &mpsc::Sender<Found>, path: String, size: u64, start: &Start, entry: &mut impl Read) -> bool {
    let (Start::Whole(first) | Start::Part(first)) = start;
    let (feed, chunks) = Chunks::channel(path.clone());
    let head = first.slice(..HEAD.min(first.len()));
    if sender.blocking_send(Found::Blob { path, size, head, chunks }).is_err() {
        return false;
    }
    let mut next = Ok(first.clone());
    loop {
        let last = next.as_ref().map_or(true, Bytes::is_empty);
        // An error of the channel means that the blob exists already: the rest is skipped.
        if next.as_ref().is_ok_and(Bytes::is_empty) || feed.blocking_send(next).is_err() || last {
            return true;
        }
        let mut chunk = vec![0; CHUNK];
        next = fill(entry, &mut chunk).map(|len| {
            chunk.truncate(len);
            chunk.into()
        });
    }
}
