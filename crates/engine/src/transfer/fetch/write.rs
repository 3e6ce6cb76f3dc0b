//! The thread that writes a blob: every byte is hashed and written once.

use super::{Stage, Want, flight::Leases};
use bytes::Bytes;
use model::{Error, Kind, Result};
use std::sync::Arc;
use store::{ContentWriter, Store};
use tokio::sync::{mpsc, watch};

/// Writes what is `received`, shows it, and commits the blob when it is whole. If it does not get whole, the ingest
/// is left to be resumed.
pub(super) fn write(
    store: &Store,
    want: &Want,
    mut writer: ContentWriter,
    mut received: mpsc::Receiver<Bytes>,
    stage: &watch::Sender<Stage>,
    leases: &Leases,
) -> Result<()> {
    let reference = writer.status().reference;
    let mut bytes = writer.status().offset;
    let resumed = bytes;
    let mut file = writer.file()?.map(Arc::new);
    stage.send_replace(Stage::Growing(file.clone(), bytes));
    while let Some(chunk) = received.blocking_recv() {
        writer.write(&chunk)?;
        bytes += chunk.len() as u64;
        if file.is_none() {
            file = writer.file()?.map(Arc::new);
        }
        stage.send_replace(Stage::Growing(file.clone(), bytes));
    }
    let blob = &want.blob;
    if bytes < blob.size {
        return Err(Error::aborted(format!("fetching {} stopped at byte {bytes}", blob.digest)));
    }
    writer.set_lease(leases.any());
    match writer.commit(blob.size, Some(&blob.digest), want.source.labels()) {
        Err(error) if error.kind() == Kind::FailedPrecondition => {
            // These bytes are no good to resume from.
            if let Err(error) = store.abort_ingest(&want.scope, &reference) {
                tracing::warn!(reference, %error, "an ingest with wrong bytes stays until it expires");
            }
            let error = error.context(format!("failed commit on ref {reference:?}"));
            // What was there before may have been what was wrong: worth another try.
            Err(if resumed > 0 { Error::aborted(format!("resumed {}", blob.digest)).caused_by(error) } else { error })
        }
        Err(error) if !error.is_already_exists() => Err(error.context(format!("failed commit on ref {reference:?}"))),
        _ => Ok(()),
    }
}
