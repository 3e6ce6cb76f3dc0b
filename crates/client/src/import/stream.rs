//! An archive that can be read only once: blobs go to the store as they come.

use crate::Client;
use crate::archive::{Archive, HEAD, Place, digest_of_path, entry_path, is_compressed, not_a_tar};
use crate::content::{CHUNK, Chunks, Expect, Written, fill};
use crate::oci::MAX_DOCUMENT;
use crate::progress::{Event, Progress};
use bytes::Bytes;
use model::{Error, Result};
use std::fs::File;
use std::io::{self, BufReader, Chain, Cursor, Read};
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
    let reader =
        tokio::task::spawn_blocking(move || decompress(input, &name).and_then(|tar| read(&name, tar, &sender)));
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

type Input = Chain<Cursor<Vec<u8>>, File>;

/// The tar inside a perhaps compressed file.
fn decompress(mut input: File, what: &str) -> Result<Box<dyn Read>> {
    let mut head = vec![0; HEAD];
    let len = fill(&mut input, &mut head).map_err(|error| Error::io(format!("read {what}"), error))?;
    head.truncate(len);
    let (gzip, compressed) = (head.starts_with(&[0x1f]), is_compressed(&head));
    let input: Input = Cursor::new(head).chain(input);
    let buffered = || BufReader::with_capacity(256 << 10, input);
    Ok(match (compressed, gzip) {
        (false, _) => Box::new(buffered()),
        (true, true) => Box::new(flate2::bufread::MultiGzDecoder::new(buffered())),
        (true, false) => Box::new(
            zstd::stream::read::Decoder::with_buffer(buffered())
                .map_err(|error| Error::io(format!("read {what}"), error))?,
        ),
    })
}

/// Goes through the archive until its end, or until nobody listens any more.
fn read(what: &str, tar: Box<dyn Read>, sender: &mpsc::Sender<Found>) -> Result<()> {
    let mut documents = 0;
    let mut tar = tar::Archive::new(tar);
    for entry in tar.entries().map_err(|error| not_a_tar(what, error))? {
        let mut entry = entry.map_err(|error| not_a_tar(what, error))?;
        let path = entry_path(what, &entry.path().map_err(|error| not_a_tar(what, error))?)?;
        let found = match entry.header().entry_type() {
            tar::EntryType::Regular | tar::EntryType::Continuous => {
                let size = entry.size();
                match small(&mut entry, size).map_err(|error| not_a_tar(what, error))? {
                    Start::Whole(bytes) if matches!(bytes.first(), Some(b'{' | b'[')) => {
                        documents += size;
                        if documents > MAX_DOCUMENTS {
                            return Err(Error::invalid_argument(format!(
                                "{what} holds more than {MAX_DOCUMENTS} bytes of documents"
                            )));
                        }
                        Found::Document(path, bytes)
                    }
                    start => {
                        if !send_blob(sender, path, size, &start, &mut entry) {
                            return Ok(());
                        }
                        continue;
                    }
                }
            }
            tar::EntryType::Symlink => {
                let target = entry.link_name().map_err(|error| not_a_tar(what, error))?;
                match target.as_deref().and_then(Path::to_str) {
                    Some(target) => Found::Link(path, target.to_owned()),
                    None => continue,
                }
            }
            _ => continue,
        };
        if sender.blocking_send(found).is_err() {
            return Ok(());
        }
    }
    Ok(())
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
