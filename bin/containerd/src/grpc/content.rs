//! Content: blobs and the ingests they come in by. `Write` is in `content_write`.

use super::{
    content_write,
    reply::{Replies, blocking, channel, in_blocks},
    scope::scoped,
};
use model::{Digest, Error, Filter};
use prost::bytes::Bytes;
use proto::{
    api::containerd::services::content::v1::{self as api, content_server},
    convert::{mask_from_wire, status},
};
use std::sync::Arc;
use store::{Store, content::Blob};
use tokio::sync::mpsc;
use tonic::{Request, Response, Status, Streaming, async_trait};

/// Bytes in one message of a read.
const CHUNK: u64 = 1 << 20;
/// Messages of a read that wait for the client.
const READ_AHEAD: usize = 1;

/// The service over its store.
#[derive(Debug)]
pub(crate) struct Content(pub(crate) Store);

fn digest(text: &str) -> Result<Digest, Status> {
    text.parse().map_err(status)
}

#[async_trait]
impl content_server::Content for Content {
    type ListStream = Replies<api::ListContentResponse>;
    type ReadStream = Replies<api::ReadContentResponse>;
    type WriteStream = Replies<api::WriteContentResponse>;

    async fn info(&self, request: Request<api::InfoRequest>) -> Result<Response<api::InfoResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let (store, digest) = (self.0.clone(), digest(&request.digest)?);
        let info = blocking(move || store.blob_info(&scope, &digest)).await?;
        Ok(Response::new(api::InfoResponse { info: Some(info.into()) }))
    }

    async fn update(&self, request: Request<api::UpdateRequest>) -> Result<Response<api::UpdateResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let info = request.info.ok_or_else(|| status(Error::invalid_argument("content info is missing")))?;
        let (store, digest) = (self.0.clone(), digest(&info.digest)?);
        let (labels, mask) = (info.labels, mask_from_wire(request.update_mask));
        let info = blocking(move || store.update_blob(&scope, &digest, labels, &mask)).await?;
        Ok(Response::new(api::UpdateResponse { info: Some(info.into()) }))
    }

    async fn list(&self, request: Request<api::ListContentRequest>) -> Result<Response<Self::ListStream>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let blobs = blocking(move || store.list_blobs(&scope, &Filter::parse(&request.filters)?)).await?;
        Ok(in_blocks(blobs, |info| api::ListContentResponse { info }))
    }

    async fn delete(&self, request: Request<api::DeleteContentRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let (store, digest) = (self.0.clone(), digest(&request.digest)?);
        blocking(move || store.delete_blob(&scope, &digest)).await?;
        Ok(Response::new(()))
    }

    async fn read(&self, request: Request<api::ReadContentRequest>) -> Result<Response<Self::ReadStream>, Status> {
        let (scope, request) = scoped(request)?;
        let (store, digest) = (self.0.clone(), digest(&request.digest)?);
        let blob = blocking(move || store.open_reader(&scope, &digest)).await?;
        let start = u64::try_from(request.offset).unwrap_or(0);
        let past = || format!("content {}: read past object length {} bytes", request.digest, blob.size());
        let left = blob.size().checked_sub(start).ok_or_else(|| status(Error::out_of_range(past())))?;
        // No size, or one past the end, means up to the end.
        let size = u64::try_from(request.size).ok().filter(|&size| size > 0).map_or(left, |size| size.min(left));
        let (replies, response) = channel(READ_AHEAD);
        tokio::spawn(read(Arc::new(blob), start, size, replies));
        Ok(response)
    }

    async fn status(&self, request: Request<api::StatusRequest>) -> Result<Response<api::StatusResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let found = blocking(move || store.ingest_status(&scope, &request.r#ref)).await?;
        Ok(Response::new(api::StatusResponse { status: Some(found.into()) }))
    }

    async fn list_statuses(
        &self,
        request: Request<api::ListStatusesRequest>,
    ) -> Result<Response<api::ListStatusesResponse>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        let found = blocking(move || store.list_ingests(&scope, &Filter::parse(&request.filters)?)).await?;
        Ok(Response::new(api::ListStatusesResponse { statuses: found.into_iter().map(Into::into).collect() }))
    }

    async fn write(
        &self,
        request: Request<Streaming<api::WriteContentRequest>>,
    ) -> Result<Response<Self::WriteStream>, Status> {
        let (scope, requests) = scoped(request)?;
        let (replies, response) = channel(1);
        tokio::spawn(content_write::serve(self.0.clone(), scope, requests, replies));
        Ok(response)
    }

    async fn abort(&self, request: Request<api::AbortRequest>) -> Result<Response<()>, Status> {
        let (scope, request) = scoped(request)?;
        let store = self.0.clone();
        blocking(move || store.abort_ingest(&scope, &request.r#ref)).await?;
        Ok(Response::new(()))
    }
}

/// Sends `size` bytes from `start`; each message's offset counts from the first.
async fn read(blob: Arc<Blob>, start: u64, size: u64, replies: mpsc::Sender<Result<api::ReadContentResponse, Status>>) {
    let mut sent = 0;
    while sent < size {
        let (from, len) = (start + sent, CHUNK.min(size - sent));
        let blob = Arc::clone(&blob);
        let chunk = blocking(move || read_chunk(&blob, from, len)).await;
        let failed = chunk.is_err();
        let reply =
            chunk.map(|data| api::ReadContentResponse { offset: i64::try_from(sent).unwrap_or(i64::MAX), data });
        // The client may have gone; then nobody wants the rest.
        if replies.send(reply).await.is_err() || failed {
            return;
        }
        sent += len;
    }
}

fn read_chunk(blob: &Blob, from: u64, len: u64) -> model::Result<Bytes> {
    // `len` is at most CHUNK.
    let mut chunk = vec![0; usize::try_from(len).unwrap_or(0)];
    let mut filled = 0;
    while filled < chunk.len() {
        let count =
            blob.read_at(&mut chunk[filled..], from + filled as u64).map_err(|error| Error::io("read blob", error))?;
        if count == 0 {
            return Err(Error::data_loss(format!("blob ends at byte {} of {}", from + filled as u64, blob.size())));
        }
        filled += count;
    }
    Ok(chunk.into())
}
