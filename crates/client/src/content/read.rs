//! Reading blobs: streamed, or whole if they are small documents.

use crate::oci::{Descriptor, Document, check_document_size};
use crate::{Client, Reply, error_of};
use bytes::Bytes;
use model::{Digest, Error, Labels, Result};
use proto::api::containerd::services::content::v1::{
    Info, InfoRequest, ReadContentRequest, ReadContentResponse, UpdateRequest,
};

/// A blob on its way here.
#[derive(Debug)]
pub struct Blob {
    digest: Digest,
    stream: tonic::Streaming<ReadContentResponse>,
}

impl Blob {
    /// The next bytes, `None` at the end.
    pub async fn next(&mut self) -> Result<Option<Bytes>> {
        let message = self
            .stream
            .message()
            .await
            .map_err(|status| error_of(status).context(format!("read content {}", self.digest)))?;
        Ok(message.map(|message| message.data))
    }
}

impl Client {
    /// What is known of blob `digest`.
    pub async fn blob_info(&self, digest: &Digest) -> Result<Info> {
        let reply = self.content().info(InfoRequest { digest: digest.to_string() }).await.reply()?;
        reply.info.ok_or_else(|| Error::internal(format!("content {digest}: the daemon's answer has no info")))
    }

    /// Whether blob `digest` exists in this namespace.
    pub async fn has_blob(&self, digest: &Digest) -> Result<bool> {
        match self.blob_info(digest).await {
            Ok(_) => Ok(true),
            Err(error) if error.is_not_found() => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Opens blob `digest` from its start.
    pub async fn read_blob(&self, digest: &Digest) -> Result<Blob> {
        self.read_blob_from(digest, 0).await
    }

    /// Opens blob `digest` from `offset` on.
    pub async fn read_blob_from(&self, digest: &Digest, offset: u64) -> Result<Blob> {
        let offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let request = ReadContentRequest { digest: digest.to_string(), offset, size: 0 };
        let stream = self.content().read(request).await.reply()?;
        Ok(Blob { digest: digest.clone(), stream })
    }

    /// The whole of a small blob; a larger one than [`crate::MAX_DOCUMENT`] is refused.
    pub async fn read_small(&self, descriptor: &Descriptor) -> Result<Vec<u8>> {
        let digest = &descriptor.digest;
        check_document_size(digest.as_str(), descriptor.size)?;
        let mut blob = self.read_blob(digest).await?;
        let mut whole = Vec::new();
        while let Some(chunk) = blob.next().await? {
            check_document_size(digest.as_str(), (whole.len() + chunk.len()) as u64)?;
            whole.extend_from_slice(&chunk);
        }
        Ok(whole)
    }

    /// The document a descriptor points to.
    pub async fn read_document<T: Document>(&self, descriptor: &Descriptor) -> Result<T> {
        T::parse(&format!("content {}", descriptor.digest), &self.read_small(descriptor).await?)
    }

    /// Sets labels of a blob; an empty value removes one.
    pub async fn label_blob(&self, digest: &Digest, labels: Labels) -> Result<Info> {
        if labels.is_empty() {
            return self.blob_info(digest).await;
        }
        let update_mask = Some(crate::label_mask(&labels));
        let labels = labels.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        let info = Info { digest: digest.to_string(), labels, ..Info::default() };
        let request = UpdateRequest { info: Some(info), update_mask };
        let reply = self.content().update(request).await.reply()?;
        reply.info.ok_or_else(|| Error::internal(format!("content {digest}: the daemon's answer has no info")))
    }
}
