//! Ingests: blobs on their way in, resumable until committed, aborted or expired.
//!
//! The record ties the client's reference to a reference of the content directory, `<ns>/<seq>/<ref>`,
//! which is never used twice. It is written before the directory is made, and durable before the bytes
//! outgrow memory, so a directory without a record is garbage.

mod writer;

pub use writer::ContentWriter;

use crate::{
    Sharing, Store, blobs,
    db::{Decoder, Encoder, Key, Kind, Read, Record, Tx},
    leases::{hold, release},
    namespaces::{SHAREABLE, ensure_namespace, namespaces},
};
use model::{Digest, Error, Filter, IngestStatus, Resource, Result, Scope, Timestamp};

/// How long an ingest without a lease is kept, in seconds.
const EXPIRY: i64 = 24 * 60 * 60;
/// How often an ingest is looked for anew that others end while we open it.
const ATTEMPTS: usize = 10;

/// What an ingest is opened with.
#[derive(Clone, Debug, Default)]
pub struct WriterOptions {
    /// The client's name for it, unique in its namespace.
    pub reference: String,
    /// Size expected in bytes, or 0 if unknown.
    pub total: u64,
    /// The digest expected. A blob that is there already is `AlreadyExists`, and added to the lease.
    pub expected: Option<Digest>,
    /// For the event only.
    pub media_type: String,
    /// Whether it is kept for a day even if a lease holds it and goes: what was fetched in part is worth resuming.
    pub kept: bool,
}

/// An ingest's record.
#[derive(Clone, Debug)]
pub(crate) struct Ingest {
    /// What the content directory knows it by.
    pub(crate) backend: String,
    /// When it is garbage, unless a lease holds it.
    pub(crate) expires_at: Option<Timestamp>,
    /// The blob of another namespace that it will share; kept from collection meanwhile.
    pub(crate) expected: Option<Digest>,
}

/// What opening an ingest came to.
enum Opened {
    /// The namespace has the blob already.
    Exists,
    /// The blob is there for the taking: digest and size.
    Shared(Digest, u64),
    /// The bytes have to come.
    Fresh,
}

impl Store {
    /// Opens or resumes an ingest. A reference open elsewhere is `Unavailable`.
    pub fn open_writer(&self, scope: &Scope, options: &WriterOptions) -> Result<ContentWriter> {
        Key::check("ref", &options.reference)?;
        for _ in 0..ATTEMPTS {
            if let Some(writer) = self.try_open_writer(scope, options)? {
                return Ok(writer);
            }
        }
        Err(Error::unavailable(format!("ref {} is written by others again and again", options.reference)))
    }

    /// The same once; `None` if somebody ended the ingest that was found before it was locked.
    fn try_open_writer(&self, scope: &Scope, options: &WriterOptions) -> Result<Option<ContentWriter>> {
        // From here to the commit of its record nobody may remove the blob that we may find.
        let pin = options.expected.as_ref().map(|digest| self.core.digests.pin(digest.as_str()));
        let found = options.expected.as_ref().and_then(|digest| {
            let size = self.core.blobs.stat(digest).ok()?.size;
            // A wrong size is the client's to find out when it commits.
            (options.total == 0 || options.total == size).then(|| (digest.clone(), size))
        });
        let sequence = self.core.db.next_sequence()?;
        let (sharing, request, wanted) = (self.core.sharing, scope.clone(), options.clone());
        let (opened, backend, new) =
            self.core.db.write(move |tx| open(tx, &request, &wanted, sharing, found, sequence))?;
        drop(pin);
        if let (Opened::Exists, Some(digest)) = (&opened, &options.expected) {
            return Err(Error::already_exists(format!("content {digest}")));
        }
        let shares = matches!(opened, Opened::Shared(..));
        let writer = ContentWriter::open(self.clone(), scope.clone(), options.clone(), backend.clone(), opened);
        if let (Err(error), Some(reference)) = (&writer, new)
            // Else somebody was faster, and writes what is recorded.
            && error.kind() != model::Kind::Unavailable
        {
            // Nothing was begun; the first error is the one to tell.
            let _ = self.abort_ingest(scope, &reference);
        }
        let writer = writer?;
        // Locked, it cannot end any more but by being given up. What is shared needs no record.
        if shares || self.ingest(scope, &options.reference)?.is_some_and(|ingest| ingest.backend == backend) {
            return Ok(Some(writer));
        }
        // What it leaves would be nobody's.
        let _not_begun_yet = self.core.blobs.abort(&backend);
        Ok(None)
    }

    /// The record of the ingest `reference`.
    fn ingest(&self, scope: &Scope, reference: &str) -> Result<Option<Ingest>> {
        self.core.db.read()?.record(&key(scope, reference), reference)
    }

    /// Where the ingest `reference` stands.
    pub fn ingest_status(&self, scope: &Scope, reference: &str) -> Result<IngestStatus> {
        let ingest = self.ingest(scope, reference)?.ok_or_else(|| missing(reference))?;
        let status = self.core.blobs.status(&ingest.backend)?;
        Ok(IngestStatus { reference: reference.to_owned(), ..status })
    }

    /// The ingests that match.
    pub fn list_ingests(&self, scope: &Scope, filter: &Filter) -> Result<Vec<IngestStatus>> {
        let mut ingests = Vec::new();
        self.core.db.read()?.each(&Key::prefix(Kind::Ingest, &[scope.namespace.as_str()]), |path, value| {
            let reference = path.last().copied().unwrap_or_default();
            ingests.push((reference.to_owned(), Ingest::from_bytes(reference, value)?));
            Ok(())
        })?;
        let mut statuses = Vec::new();
        for (reference, ingest) in ingests {
            let status = match self.core.blobs.status(&ingest.backend) {
                Ok(status) => IngestStatus { reference, ..status },
                // Shared, or committed or aborted meanwhile.
                Err(error) if error.is_not_found() => continue,
                Err(error) => return Err(error),
            };
            if filter.matches(&status) {
                statuses.push(status);
            }
        }
        Ok(statuses)
    }

    /// Gives an ingest up and removes what was written.
    pub fn abort_ingest(&self, scope: &Scope, reference: &str) -> Result<()> {
        let (scope, reference) = (scope.clone(), reference.to_owned());
        let ingest = self.core.db.write(move |tx| {
            let key = key(&scope, &reference);
            let found: Option<Ingest> = tx.record(&key, &reference)?;
            let ingest = found.ok_or_else(|| missing(&reference))?;
            tx.delete(&key);
            release(tx, &scope, &Resource::Ingest(reference));
            // Should we not get to remove the files, the collector will.
            tx.effects().content = true;
            Ok(ingest)
        })?;
        match self.core.blobs.abort(&ingest.backend) {
            // A shared one has none.
            Err(error) if !error.is_not_found() => Err(error),
            _ => Ok(()),
        }
    }
}

/// Makes or finds the record. Returns what is to be done, the backend's reference, and the client's if the
/// record is new.
fn open(
    tx: &mut Tx<'_, '_>,
    scope: &Scope,
    options: &WriterOptions,
    sharing: Sharing,
    found: Option<(Digest, u64)>,
    sequence: u64,
) -> Result<(Opened, String, Option<String>)> {
    if let Some(digest) = &options.expected
        && tx.contains(&blobs::key(scope, digest))?
    {
        hold(tx, scope, &Resource::Content(digest.to_string()))?;
        return Ok((Opened::Exists, String::new(), None));
    }
    let shared = match found {
        Some((digest, size)) if sharing == Sharing::Shared || is_shareable(tx, &digest)? => Some((digest, size)),
        _ => None,
    };
    ensure_namespace(tx, scope)?;
    let key = key(scope, &options.reference);
    let stored: Option<Ingest> = tx.record(&key, &options.reference)?;
    let new = stored.is_none().then(|| options.reference.clone());
    let mut ingest = stored.unwrap_or_else(|| Ingest {
        backend: format!("{}/{sequence}/{}", scope.namespace, options.reference),
        expires_at: None,
        expected: None,
    });
    if !hold(tx, scope, &Resource::Ingest(options.reference.clone()))? || options.kept {
        let now = Timestamp::now();
        ingest.expires_at = Some(Timestamp { seconds: now.seconds + EXPIRY, ..now });
    }
    if let Some((digest, _)) = &shared {
        ingest.expected = Some(digest.clone());
    }
    tx.put_record(&key, &ingest);
    // Worth no sync as long as there is no file: lost, it is begun anew.
    tx.durable_soon();
    let opened = shared.map_or(Opened::Fresh, |(digest, size)| Opened::Shared(digest, size));
    Ok((opened, ingest.backend, new))
}

/// Whether a namespace that has the blob lets all others use it.
fn is_shareable(db: &impl Read, digest: &Digest) -> Result<bool> {
    for namespace in namespaces(db)? {
        if namespace.labels.get(SHAREABLE).is_some_and(|value| value == "true")
            && db.contains(&Key::new(Kind::Blob, &[&namespace.name, digest.as_str()]))?
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn missing(reference: &str) -> Error {
    Error::not_found(format!("reference {reference}"))
}

fn key(scope: &Scope, reference: &str) -> Key {
    Key::new(Kind::Ingest, &[scope.namespace.as_str(), reference])
}

impl Record for Ingest {
    fn encode(&self, out: &mut Encoder) {
        out.text(&self.backend);
        out.option(self.expires_at.as_ref(), |out, time| out.time(*time));
        out.option(self.expected.as_ref(), |out, digest| out.text(digest.as_str()));
    }

    fn decode(_reference: &str, from: &mut Decoder<'_>) -> Result<Self> {
        Ok(Self {
            backend: from.text()?,
            expires_at: from.option(Decoder::time)?,
            expected: from.option(|from| from.str()?.parse())?,
        })
    }
}
