//! Blobs as each namespace sees them; their bytes are shared.

use crate::{
    Store,
    content::Blob,
    db::{Decoder, Encoder, Key, Kind, Read, Record},
    leases::release,
    mask::{drop_empty, update_map},
};
use model::{
    BlobInfo, Digest, Error, Event, FieldMask, Filter, Labels, Resource, Result, Scope, Timestamp, validate_labels,
};

impl Store {
    /// The blob `digest`.
    pub fn blob_info(&self, scope: &Scope, digest: &Digest) -> Result<BlobInfo> {
        self.core.db.read()?.record(&key(scope, digest), digest.as_str())?.ok_or_else(|| missing(digest))
    }

    /// Updates the labels, all or those `labels.<key>` that `mask` names.
    pub fn update_blob(&self, scope: &Scope, digest: &Digest, labels: Labels, mask: &FieldMask) -> Result<BlobInfo> {
        let (scope, digest, mask) = (scope.clone(), digest.clone(), mask.clone());
        self.core.db.write(move |tx| {
            let key = key(&scope, &digest);
            let stored: Option<BlobInfo> = tx.record(&key, digest.as_str())?;
            let mut info = stored.ok_or_else(|| missing(&digest))?;
            if mask.is_empty() {
                info.labels.clone_from(&labels);
            }
            for path in mask.paths() {
                if !update_map("labels", path, &mut info.labels, &labels) {
                    return Err(Error::invalid_argument(format!(
                        "cannot update {path:?} field on content info {:?}",
                        digest.as_str()
                    )));
                }
            }
            validate_labels(&info.labels).map_err(|error| error.context("info.Labels"))?;
            drop_empty(&mut info.labels);
            info.updated_at = Timestamp::now();
            tx.put_record(&key, &info);
            Ok(info)
        })
    }

    /// The blobs that match, by digest.
    pub fn list_blobs(&self, scope: &Scope, filter: &Filter) -> Result<Vec<BlobInfo>> {
        let mut blobs = Vec::new();
        let prefix = Key::prefix(Kind::Blob, &[scope.namespace.as_str()]);
        self.core.db.read()?.each_matching(&prefix, filter, |info| blobs.push(info))?;
        Ok(blobs)
    }

    /// Deletes the namespace's record; the bytes go with the next garbage collection.
    pub fn delete_blob(&self, scope: &Scope, digest: &Digest) -> Result<()> {
        let (scope, digest) = (scope.clone(), digest.clone());
        self.core.db.write(move |tx| {
            let key = key(&scope, &digest);
            tx.require(&key, || missing(&digest))?;
            tx.delete(&key);
            release(tx, &scope, &Resource::Content(digest.to_string()));
            tx.effects().deletions += 1;
            tx.effects().content = true;
            tx.emit(&scope.namespace, Event::ContentDelete { digest: digest.to_string() });
            Ok(())
        })
    }

    /// Opens a blob of the namespace for reading. It stays readable when it is deleted meanwhile.
    pub fn open_reader(&self, scope: &Scope, digest: &Digest) -> Result<Blob> {
        self.core.db.read()?.require(&key(scope, digest), || missing(digest))?;
        self.core.blobs.blob(digest)
    }
}

pub(crate) fn missing(digest: &Digest) -> Error {
    Error::not_found(format!("content digest {digest}"))
}

pub(crate) fn key(scope: &Scope, digest: &Digest) -> Key {
    Key::new(Kind::Blob, &[scope.namespace.as_str(), digest.as_str()])
}

impl Record for BlobInfo {
    fn encode(&self, out: &mut Encoder) {
        out.labels(&self.labels);
        out.time(self.created_at);
        out.time(self.updated_at);
        out.number(self.size);
    }

    fn decode(digest: &str, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            digest: digest.parse()?,
            labels: from.labels()?,
            created_at: from.time()?,
            updated_at: from.time()?,
            size: from.number()?,
        })
    }
}
