//! Writing a blob: every byte is hashed and written once.

use super::{Stage, Want, flight::Leases};
use crate::tasks::blocking;
use bytes::Bytes;
use model::{Error, Kind, Result};
use std::{fs::File, sync::Arc};
use store::{ContentWriter, Store};
use tokio::sync::{mpsc, watch};

/// A blob being written. It has a thread only while there are bytes to write: threads are few, and a registry may
/// take its time.
pub(super) struct Writing {
    pub(super) store: Store,
    pub(super) want: Want,
    pub(super) writer: ContentWriter,
    pub(super) received: mpsc::Receiver<Bytes>,
    pub(super) stage: watch::Sender<Stage>,
    pub(super) leases: Arc<Leases>,
    /// What is written to, once it is a file.
    pub(super) file: Option<Arc<File>>,
    /// How many bytes there were at the start, and are now.
    pub(super) resumed: u64,
    pub(super) bytes: u64,
}

impl Writing {
    /// Writes what is received, shows it, and commits the blob when it is whole. If it does not get whole, the ingest
    /// is left to be resumed.
    pub(super) async fn run(mut self) -> Result<()> {
        while let Some(chunk) = self.received.recv().await {
            self = blocking(move || self.append(chunk)).await?;
        }
        blocking(move || self.commit()).await
    }

    /// Appends `chunk`, and those that come meanwhile.
    fn append(mut self, chunk: Bytes) -> Result<Self> {
        let mut next = Some(chunk);
        while let Some(chunk) = next {
            self.writer.write(&chunk)?;
            self.bytes += chunk.len() as u64;
            if self.file.is_none() {
                self.file = self.writer.file()?.map(Arc::new);
            }
            self.stage.send_replace(Stage::Growing(self.file.clone(), self.bytes));
            next = self.received.try_recv().ok();
        }
        Ok(self)
    }

    fn commit(self) -> Result<()> {
        let Self { store, want, mut writer, leases, resumed, bytes, .. } = self;
        let blob = &want.blob;
        if bytes < blob.size {
            return Err(Error::aborted(format!("fetching {} stopped at byte {bytes}", blob.digest)));
        }
        let reference = writer.status().reference;
        writer.set_lease(leases.scope(&want.scope).lease);
        match writer.commit(blob.size, Some(&blob.digest), want.source.labels()) {
            Ok(_) => Ok(()),
            // Somebody has brought it by other ways meanwhile, with labels of their own.
            Err(error) if error.is_already_exists() => want.source.append(&store, &want.scope, &blob.digest),
            Err(error) if error.kind() == Kind::FailedPrecondition => {
                // These bytes are no good to resume from.
                if let Err(error) = store.abort_ingest(&want.scope, &reference) {
                    tracing::warn!(reference, %error, "an ingest with wrong bytes stays until it expires");
                }
                let error = error.context(format!("failed commit on ref {reference:?}"));
                // What was there before may have been what was wrong: worth another try.
                let resumed = resumed > 0;
                Err(if resumed { Error::aborted(format!("resumed {}", blob.digest)).caused_by(error) } else { error })
            }
            Err(error) => Err(error.context(format!("failed commit on ref {reference:?}"))),
        }
    }
}
