//! Writing one ingest, as a namespace sees it.

use super::{Opened, WriterOptions, key};
use crate::{
    Store, blobs,
    content::{self, Committed},
    db::Read,
    leases::{hold, release},
    mask::drop_empty,
    namespaces::ensure_namespace,
};
use model::{
    BlobInfo, Digest, Error, Event, IngestStatus, Labels, Resource, Result, Scope, Timestamp, validate_labels,
};

/// Bytes copied at once when a shared blob has to be written to after all.
const COPY: usize = 64 << 10;

/// An ingest open for writing: its reference is locked until this is dropped. Dropping it without
/// [`commit`](Self::commit) or [`abort`](Self::abort) leaves the ingest resumable.
#[derive(Debug)]
pub struct ContentWriter {
    store: Store,
    scope: Scope,
    options: WriterOptions,
    /// The content directory's reference.
    backend: String,
    data: Data,
}

#[derive(Debug)]
enum Data {
    /// The blob is known from another namespace and need only be committed.
    Shared { digest: Digest, size: u64, since: Timestamp },
    /// The bytes are written here.
    Own(Box<content::Ingest>),
}

impl ContentWriter {
    pub(super) fn open(
        store: Store,
        scope: Scope,
        options: WriterOptions,
        backend: String,
        opened: Opened,
    ) -> Result<Self> {
        let data = match opened {
            Opened::Shared(digest, size) => Data::Shared { digest, size, since: Timestamp::now() },
            // Not told what is expected: the namespace has not got it, whether the directory has or not.
            Opened::Fresh | Opened::Exists => {
                Data::Own(Box::new(store.core.blobs.ingest(&backend, options.total, None)?))
            }
        };
        Ok(Self { store, scope, options, backend, data })
    }

    /// Where it stands. The offset may be the total at once: the blob is known from another namespace
    /// and need only be committed.
    pub fn status(&self) -> IngestStatus {
        let status = match &self.data {
            Data::Own(ingest) => ingest.status(),
            Data::Shared { digest, size, since } => IngestStatus {
                reference: String::new(),
                offset: *size,
                total: *size,
                expected: Some(digest.clone()),
                started_at: *since,
                updated_at: *since,
            },
        };
        IngestStatus { reference: self.options.reference.clone(), ..status }
    }

    /// Digest of what was written so far.
    pub fn digest(&self) -> Result<Digest> {
        match &self.data {
            Data::Own(ingest) => ingest.digest(),
            Data::Shared { digest, .. } => Ok(digest.clone()),
        }
    }

    /// Appends `bytes`.
    pub fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if bytes.is_empty() {
            return Ok(());
        }
        let store = self.store.clone();
        append(&store, self.own(true)?, bytes)
    }

    /// Throws away what was written, to begin anew.
    pub fn truncate(&mut self) -> Result<()> {
        self.own(false)?.truncate()
    }

    /// The file that is being written, to be read while it grows; it stays what it is when it becomes a blob.
    /// `None` as long as the bytes are few and in memory, or are another namespace's.
    pub fn file(&self) -> Result<Option<std::fs::File>> {
        match &self.data {
            Data::Own(ingest) => ingest.file(),
            Data::Shared { .. } => Ok(None),
        }
    }

    /// From now on what is made belongs to `lease`: the one it was opened under may have gone meanwhile.
    pub fn set_lease(&mut self, lease: Option<String>) {
        self.scope.lease = lease;
    }

    /// Makes it a blob. `size` (0: any) and `expected` are checked (`FailedPrecondition`), then it is made
    /// durable and recorded with `labels`. A blob that exists already is `AlreadyExists`, which ends the
    /// ingest too and adds the blob to the lease.
    pub fn commit(self, size: u64, expected: Option<&Digest>, mut labels: Labels) -> Result<Digest> {
        validate_labels(&labels).map_err(|error| error.context("info.Labels"))?;
        drop_empty(&mut labels);
        let offset = self.status().offset;
        if size != 0 && size != offset {
            let reference = &self.options.reference;
            return Err(Error::failed_precondition(format!(
                "{reference:?} failed size validation: {offset} != {size}"
            )));
        }
        let Self { store, scope, options, backend, data } = self;
        // From before the file has its name until it has its record nobody may remove it, nor go on with the ingest.
        let (pin, lock, committed) = match data {
            Data::Shared { digest, .. } => {
                if expected.is_some_and(|expected| *expected != digest) {
                    let reference = options.reference;
                    return Err(Error::failed_precondition(format!("{reference:?} unexpected digest")));
                }
                let pin = store.core.digests.pin(digest.as_str());
                let size = store.core.blobs.stat_durable(&digest)?.size;
                // Who writes it nevertheless, since before there was anything to share, is not to be disturbed.
                (pin, store.core.blobs.lock(&backend).ok(), Committed { digest, size })
            }
            Data::Own(ingest) => {
                let digest = expected.map_or_else(|| ingest.digest(), |expected| Ok(expected.clone()))?;
                let pin = store.core.digests.pin(digest.as_str());
                (pin, Some(ingest.lock()), ingest.commit(size, expected)?)
            }
        };
        let digest = committed.digest.clone();
        let ended = lock.is_some().then_some(backend);
        let existed =
            store.core.db.write(move |tx| record(tx, &scope, &options, ended.as_deref(), committed, labels))?;
        drop((pin, lock));
        if existed {
            return Err(Error::already_exists(format!("content {digest}")));
        }
        Ok(digest)
    }

    /// Gives it up and removes what was written.
    pub fn abort(self) -> Result<()> {
        let Self { store, scope, options, data, .. } = self;
        drop(data);
        store.abort_ingest(&scope, &options.reference)
    }

    /// The data to write to; that of a shared blob is copied first, if it is to be kept.
    fn own(&mut self, keep: bool) -> Result<&mut content::Ingest> {
        if let Data::Shared { digest, .. } = &self.data {
            let blobs = &self.store.core.blobs;
            let mut ingest = blobs.ingest(&self.backend, 0, None)?;
            // An earlier writer may have left a part.
            ingest.truncate()?;
            if keep {
                let blob = blobs.blob(digest)?;
                let mut buffer = vec![0; COPY];
                while ingest.offset() < blob.size() {
                    let read = blob.read_at(&mut buffer, ingest.offset());
                    match read.map_err(|error| Error::io(format!("read content {digest}"), error))? {
                        0 => return Err(Error::data_loss(format!("content {digest} is shorter than it was"))),
                        len => append(&self.store, &mut ingest, &buffer[..len])?,
                    }
                }
            }
            self.data = Data::Own(Box::new(ingest));
        }
        match &mut self.data {
            Data::Own(ingest) => Ok(ingest),
            Data::Shared { .. } => Err(Error::internal(format!("ref {:?} is still shared", self.options.reference))),
        }
    }
}

/// Appends `bytes`. Before the ingest gets a file its record is durable: without one the file would be garbage.
fn append(store: &Store, ingest: &mut content::Ingest, bytes: &[u8]) -> Result<()> {
    if ingest.outgrows_memory(bytes.len()) {
        store.core.db.sync()?;
    }
    ingest.append(bytes)
}

/// Replaces the record of the ingest that the content directory knows as `ended`, if it has, by the blob's. Returns
/// whether there was one already.
fn record(
    tx: &mut crate::db::Tx<'_, '_>,
    scope: &Scope,
    options: &WriterOptions,
    ended: Option<&str>,
    committed: Committed,
    labels: Labels,
) -> Result<bool> {
    ensure_namespace(tx, scope)?;
    let Committed { digest, size } = committed;
    let ingest = key(scope, &options.reference);
    let stored: Option<super::Ingest> = tx.record(&ingest, &options.reference)?;
    if stored.is_some_and(|stored| Some(stored.backend.as_str()) == ended) {
        tx.delete(&ingest);
        release(tx, scope, &Resource::Ingest(options.reference.clone()));
    }
    hold(tx, scope, &Resource::Content(digest.to_string()))?;
    let key = blobs::key(scope, &digest);
    if tx.contains(&key)? {
        return Ok(true);
    }
    let now = Timestamp::now();
    let (name, media_type) = (digest.to_string(), options.media_type.clone());
    tx.put_record(&key, &BlobInfo { digest, size, created_at: now, updated_at: now, labels });
    tx.emit(&scope.namespace, Event::ContentCreate { digest: name, size, media_type });
    Ok(false)
}
