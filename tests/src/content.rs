//! Content, snapshots and layers over gRPC, in as few words as a test likes to use.

use proto::api::containerd::services::content::v1::{WriteAction, WriteContentRequest, WriteContentResponse};
use proto::api::containerd::services::diff::v1::ApplyRequest;
use proto::api::containerd::services::leases::v1::CreateRequest as CreateLease;
use proto::api::containerd::services::snapshots::v1::{PrepareSnapshotRequest, RemoveSnapshotRequest};
use proto::api::containerd::types::{Descriptor, Mount};
use tonic::Status;

use crate::api::Api;
use crate::image::digest;

/// Most of a blob in one message, as containerd's own client writes.
const CHUNK: usize = 1 << 20;

/// The message that opens `reference` and says how far it is.
#[must_use]
pub fn stat(reference: &str) -> WriteContentRequest {
    WriteContentRequest { action: WriteAction::Stat.into(), r#ref: reference.to_owned(), ..Default::default() }
}

/// A message that writes `bytes` at `offset`.
#[must_use]
pub fn write(reference: &str, offset: i64, bytes: &[u8]) -> WriteContentRequest {
    let data = bytes.to_vec().into();
    WriteContentRequest {
        action: WriteAction::Write.into(),
        r#ref: reference.to_owned(),
        offset,
        data,
        ..Default::default()
    }
}

/// A message that commits what was written, of `total` bytes, and expects `digest`.
#[must_use]
pub fn commit(reference: &str, total: i64, digest: &str) -> WriteContentRequest {
    let (action, r#ref, expected) = (WriteAction::Commit.into(), reference.to_owned(), digest.to_owned());
    WriteContentRequest { action, r#ref, total, offset: total, expected, ..Default::default() }
}

impl Api {
    /// Sends messages on one Write stream and answers with all replies, or with the first error.
    ///
    /// # Errors
    /// The stream's status.
    pub fn write(&self, messages: Vec<WriteContentRequest>) -> Result<Vec<WriteContentResponse>, Status> {
        self.call(async {
            let mut stream = self.content().write(tokio_stream::iter(messages)).await?.into_inner();
            let mut replies = Vec::new();
            while let Some(reply) = stream.message().await? {
                replies.push(reply);
            }
            Ok(replies)
        })
    }

    /// Writes and commits a blob and answers its digest. A blob that is there already is as good.
    ///
    /// # Errors
    /// The stream's status.
    pub fn ingest(&self, reference: &str, bytes: &[u8]) -> Result<String, Status> {
        let (digest, mut offset) = (digest(bytes), 0);
        let mut messages = vec![stat(reference)];
        for chunk in bytes.chunks(CHUNK) {
            messages.push(write(reference, offset, chunk));
            offset += i64::try_from(chunk.len()).expect("a chunk is small");
        }
        messages.push(commit(reference, offset, &digest));
        match self.write(messages) {
            Err(status) if status.code() != tonic::Code::AlreadyExists => Err(status),
            _ => Ok(digest),
        }
    }

    /// Creates a lease and puts every later request of this connection under it.
    pub fn hold_lease(&mut self, id: &str) {
        let request = CreateLease { id: id.to_owned(), labels: [].into() };
        self.call(self.leases().create(request)).expect("create a lease");
        self.set_lease(Some(id));
    }

    /// Prepares an empty snapshot.
    ///
    /// # Errors
    /// The call's status.
    pub fn prepare(&self, key: &str, parent: &str) -> Result<Vec<Mount>, Status> {
        let (snapshotter, key, parent) = ("overlayfs".to_owned(), key.to_owned(), parent.to_owned());
        let request = PrepareSnapshotRequest { snapshotter, key, parent, ..Default::default() };
        Ok(self.call(self.snapshots().prepare(request))?.into_inner().mounts)
    }

    /// Removes a snapshot.
    ///
    /// # Errors
    /// The call's status.
    pub fn remove_snapshot(&self, key: &str) -> Result<(), Status> {
        let request = RemoveSnapshotRequest { snapshotter: "overlayfs".to_owned(), key: key.to_owned() };
        self.call(self.snapshots().remove(request)).map(|_| ())
    }

    /// Applies a blob as a layer onto mounts and answers the digest of the uncompressed layer.
    ///
    /// # Errors
    /// The call's status.
    pub fn apply(&self, media_type: &str, digest: &str, size: usize, mounts: Vec<Mount>) -> Result<String, Status> {
        let size = i64::try_from(size).expect("a size");
        let (media_type, digest) = (media_type.to_owned(), digest.to_owned());
        let diff = Descriptor { media_type, digest, size, annotations: [].into() };
        let request = ApplyRequest { diff: Some(diff), mounts, ..Default::default() };
        Ok(self.call(self.diff().apply(request))?.into_inner().applied.expect("a descriptor").digest)
    }
}
