//! Layers from and to the content store: containerd's Diff service.

use super::{Applied, ApplyOptions, DiffOptions, TAR, TAR_GZIP, Written, apply, diff, media_type::Compressed};
use crate::{ContentWriter, Store, WriterOptions};
use model::{Descriptor, Error, FieldMask, Labels, Mount, Result, Scope, Timestamp};
use std::{
    collections::BTreeMap,
    io::{self, Write},
    sync::atomic::{AtomicU64, Ordering},
};

/// Digest of what a compressed layer contains.
const UNCOMPRESSED: &str = "containerd.io/uncompressed";

/// What a layer is written as.
#[derive(Clone, Debug, Default)]
pub struct DiffRequest {
    /// Media type; empty for gzip.
    pub media_type: String,
    /// Name of the ingest, so that others can follow it; empty for one of our own.
    pub reference: String,
    /// The blob's labels.
    pub labels: Labels,
    /// No time in the layer is later.
    pub source_date_epoch: Option<Timestamp>,
}

impl Store {
    /// Unpacks the blob of `layer` onto `mounts`, and returns the descriptor of the uncompressed layer.
    ///
    /// The blob's bytes are checked against its digest on the way.
    ///
    /// # Errors
    /// `NotFound` if the namespace has no such blob, `FailedPrecondition` if its bytes are not what its digest says,
    /// `Unimplemented` if nothing here understands its media type.
    pub fn apply_layer(
        &self,
        scope: &Scope,
        layer: &Descriptor,
        mounts: &[Mount],
        options: &ApplyOptions,
    ) -> Result<Descriptor> {
        let blob = self.open_reader(scope, &layer.digest)?;
        let options = ApplyOptions { expected: Some((layer.digest.clone(), blob.size())), ..options.clone() };
        let applied = apply(blob.into_file(), &layer.media_type, mounts, &options);
        let Applied { diff_id, size } =
            applied.map_err(|error| error.context(format!("apply layer {}", layer.digest)))?;
        Ok(Descriptor { media_type: TAR.to_owned(), digest: diff_id, size, annotations: BTreeMap::new() })
    }

    /// Writes the layer that turns `lower` into `upper` as a blob, and returns its descriptor.
    ///
    /// A blob that exists already is no error. Its label `containerd.io/uncompressed` says what it contains.
    pub fn diff_layer(
        &self,
        scope: &Scope,
        lower: &[Mount],
        upper: &[Mount],
        request: DiffRequest,
    ) -> Result<Descriptor> {
        let DiffRequest { media_type, reference, mut labels, source_date_epoch } = request;
        let media_type = if media_type.is_empty() { TAR_GZIP.to_owned() } else { media_type };
        if Compressed::of(&media_type).is_none() {
            return Err(Error::unimplemented(format!("unsupported diff media type: {media_type}")));
        }
        let ours = reference.is_empty();
        let reference = if ours { unique_reference() } else { reference };
        let write = || {
            let options = WriterOptions { reference: reference.clone(), ..WriterOptions::default() };
            let mut writer = self.open_writer(scope, &options)?;
            if !ours {
                writer.truncate()?;
            }
            let options = DiffOptions { source_date_epoch };
            let written = diff(lower, upper, &media_type, &options, Ingest(&mut writer))?;
            if media_type != TAR {
                labels.insert(UNCOMPRESSED.to_owned(), written.diff_id.to_string());
            }
            match writer.commit(written.size, Some(&written.digest), labels) {
                Err(error) if !error.is_already_exists() => Err(error.context("commit layer")),
                _ => Ok(written),
            }
        };
        let written = write().inspect_err(|_| {
            // One that the caller named is left for the caller to resume or give up.
            if ours
                && let Err(error) = self.abort_ingest(scope, &reference)
                && !error.is_not_found()
            {
                tracing::warn!(%reference, %error, "ingest of a layer left behind");
            }
        })?;
        self.label_contents(scope, &written)?;
        let Written { media_type, digest, size, .. } = written;
        Ok(Descriptor { media_type, digest, size, annotations: BTreeMap::new() })
    }

    /// Says of a blob that was there already what it contains.
    fn label_contents(&self, scope: &Scope, written: &Written) -> Result<()> {
        let labelled = self.blob_info(scope, &written.digest)?.labels.contains_key(UNCOMPRESSED);
        if labelled || written.media_type == TAR {
            return Ok(());
        }
        let labels = Labels::from([(UNCOMPRESSED.to_owned(), written.diff_id.to_string())]);
        let mask = FieldMask(vec![format!("labels.{UNCOMPRESSED}")]);
        self.update_blob(scope, &written.digest, labels, &mask).map(drop)
    }
}

fn unique_reference() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let now = Timestamp::now();
    format!("diff-{}-{}.{:09}-{}", std::process::id(), now.seconds, now.nanos, NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An ingest as something to write to.
struct Ingest<'a>(&'a mut ContentWriter);

impl Write for Ingest<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes).map_err(|error| {
            // The kind has to survive being an `io::Error`.
            let kind = match error.kind() {
                model::Kind::NotFound => io::ErrorKind::NotFound,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, error)
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
