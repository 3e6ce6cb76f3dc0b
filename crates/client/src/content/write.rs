//! Writing blobs: resumed where an earlier attempt ended, committed by digest.

use super::source::Chunks;
use crate::{Client, Reply, error_of};
use bytes::Buf as _;
use model::{Algorithm, Digest, Error, Kind, Labels, Result};
use proto::api::containerd::services::content::v1::{
    AbortRequest, WriteAction, WriteContentRequest, WriteContentResponse,
};
use sha2::{Digest as _, Sha256};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// How often a locked ingest is tried again; with the pauses below, for about a minute.
const ATTEMPTS: u32 = 70;

/// Pause before the first new attempt; it doubles up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(10);

/// What a blob should turn out to be.
#[derive(Clone, Debug, Default)]
pub struct Expect {
    /// Its digest, if known beforehand.
    pub digest: Option<Digest>,
    /// Its size in bytes, if known beforehand.
    pub size: Option<u64>,
    /// Labels it gets.
    pub labels: Labels,
}

/// A blob that is in the store now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    /// Its digest.
    pub digest: Digest,
    /// Its size in bytes.
    pub size: u64,
    /// Whether it was there before.
    pub existed: bool,
}

/// An open ingest.
struct Ingest {
    requests: mpsc::Sender<WriteContentRequest>,
    replies: tonic::Streaming<WriteContentResponse>,
    offset: u64,
}

impl Client {
    /// Writes what `source` gives as ingest `reference` and commits it. A blob that exists already is success.
    pub async fn write_blob(&self, reference: &str, expect: &Expect, source: Chunks) -> Result<Written> {
        self.write_blob_from(reference, expect, |offset| (source, offset)).await
    }

    /// The same with a source that can begin where an earlier attempt ended: `open` gets that offset, and gives the
    /// source with the number of bytes of it to pass over. It is not called if the blob exists.
    pub async fn write_blob_from(
        &self,
        reference: &str,
        expect: &Expect,
        open: impl FnOnce(u64) -> (Chunks, u64),
    ) -> Result<Written> {
        let written = match self.open_ingest(reference, expect).await {
            Ok(ingest) => ingest.fill_and_commit(expect, open).await,
            Err(error) => Err(error),
        };
        match (written, &expect.digest) {
            (Err(error), Some(digest)) if error.is_already_exists() => {
                let info = self.label_blob(digest, expect.labels.clone()).await?;
                let size = u64::try_from(info.size).unwrap_or_default();
                Ok(Written { digest: digest.clone(), size, existed: true })
            }
            (Err(error), _) => {
                if matches!(error.kind(), Kind::FailedPrecondition | Kind::OutOfRange) {
                    // What was ingested cannot become the blob: resuming it would fail for ever.
                    let request = AbortRequest { r#ref: reference.to_owned() };
                    let _ = self.content().abort(request).await;
                }
                Err(error.context(format!("write content {reference}")))
            }
            (Ok(written), None) if written.existed => {
                self.label_blob(&written.digest, expect.labels.clone()).await?;
                Ok(written)
            }
            (Ok(written), _) => Ok(written),
        }
    }

    /// Opens the ingest, and waits a bounded time for another writer of it to finish.
    async fn open_ingest(&self, reference: &str, expect: &Expect) -> Result<Ingest> {
        let mut pause = FIRST_PAUSE;
        for _ in 1..ATTEMPTS {
            match self.try_open_ingest(reference, expect).await {
                Err(error) if error.kind() == Kind::Unavailable => tokio::time::sleep(pause).await,
                result => return result,
            }
            pause = (pause * 2).min(Duration::from_secs(1));
        }
        self.try_open_ingest(reference, expect).await
    }

    async fn try_open_ingest(&self, reference: &str, expect: &Expect) -> Result<Ingest> {
        let (requests, receiver) = mpsc::channel(2);
        let stat = WriteContentRequest {
            action: WriteAction::Stat.into(),
            r#ref: reference.to_owned(),
            total: expect.size.map_or(0, to_i64),
            expected: expect.digest.as_ref().map(ToString::to_string).unwrap_or_default(),
            ..WriteContentRequest::default()
        };
        // The channel is empty: this cannot fail. It must be there before the call, for Go's server says
        // nothing, not even headers, until it has seen a message.
        let _ = requests.try_send(stat);
        let mut replies = self.content().write(ReceiverStream::new(receiver)).await.reply()?;
        let status = next(&mut replies).await?;
        let offset = u64::try_from(status.offset).unwrap_or(0);
        Ok(Ingest { requests, replies, offset })
    }
}

impl Ingest {
    async fn fill_and_commit(mut self, expect: &Expect, open: impl FnOnce(u64) -> (Chunks, u64)) -> Result<Written> {
        // Without a digest nothing says that what is there is a prefix of this blob: it is overwritten.
        let start = if expect.digest.is_some() { self.offset } else { 0 };
        // Replies are read while data is sent: a server that waits to be read would never read us.
        let (source, skip) = open(start);
        let send = send(self.requests, expect, start, source, skip);
        // Neither outlives the other: either side's end closes the stream for the other.
        let (sent, ended) = tokio::join!(send, committed(&mut self.replies));
        let (digest, size) = sent?;
        match ended {
            Ok(()) => Ok(Written { digest, size, existed: false }),
            Err(error) if error.is_already_exists() && expect.digest.is_none() => {
                Ok(Written { digest, size, existed: true })
            }
            Err(error) => Err(error),
        }
    }
}

/// Sends the source's bytes after the first `skip`, which are the blob's from `start` on, then the commit. Returns
/// the blob's digest and size.
async fn send(
    requests: mpsc::Sender<WriteContentRequest>,
    expect: &Expect,
    start: u64,
    mut source: Chunks,
    mut skip: u64,
) -> Result<(Digest, u64)> {
    let mut offset = start;
    let mut hash = expect.digest.is_none().then(Sha256::new);
    let whole = expect.size.is_some_and(|size| size == start && start > 0);
    while !whole && let Some(mut data) = source.next().await? {
        let skipped = skip.min(data.len() as u64);
        skip -= skipped;
        data.advance(usize::try_from(skipped).unwrap_or_default());
        if data.is_empty() {
            continue;
        }
        if let Some(hash) = &mut hash {
            hash.update(&data);
        }
        let end = offset + data.len() as u64;
        let request = WriteContentRequest {
            action: WriteAction::Write.into(),
            offset: to_i64(offset),
            data,
            ..WriteContentRequest::default()
        };
        if requests.send(request).await.is_err() {
            break; // the server has ended the stream: its reply says why
        }
        offset = end;
    }
    let digest = match (&expect.digest, hash) {
        (Some(digest), _) => digest.clone(),
        (None, hash) => Digest::from_hash(Algorithm::Sha256, &hash.unwrap_or_default().finalize())?,
    };
    // At offset 0 the commit also truncates what an earlier attempt at another blob may have left.
    let commit = WriteContentRequest {
        action: WriteAction::Commit.into(),
        offset: to_i64(offset),
        total: to_i64(expect.size.unwrap_or(offset)),
        expected: digest.to_string(),
        labels: expect.labels.clone(),
        ..WriteContentRequest::default()
    };
    let _ = requests.send(commit).await;
    Ok((digest, offset))
}

/// Reads replies up to the commit's.
async fn committed(replies: &mut tonic::Streaming<WriteContentResponse>) -> Result<()> {
    while next(replies).await?.action != i32::from(WriteAction::Commit) {}
    Ok(())
}

fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

async fn next(replies: &mut tonic::Streaming<WriteContentResponse>) -> Result<WriteContentResponse> {
    let message = replies.message().await.map_err(error_of)?;
    message.ok_or_else(|| Error::aborted("the daemon ended the stream before the commit"))
}
