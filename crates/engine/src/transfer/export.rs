//! Store to stream: images as one tar archive.
//!
//! One thread plans, reads and checks; the pipe to the client holds it up as the client reads.

use super::{ExportStream, ImageStore, ProgressSink, Transfers, documents::StoreDocuments};
use bytes::Bytes;
use client::{
    Platforms,
    archive::{Entry, ExportOptions, ExportPlan, end, padding},
    oci::{Descriptor, Platform},
};
use model::{Error, Result, Scope};
use store::content::Hasher;

/// Bytes of a blob read and sent at a time.
const CHUNK: usize = 256 << 10;

impl Transfers {
    /// Writes the images of `from` to `to`.
    ///
    /// # Errors
    /// `NotFound`, naming the image or the content; `DataLoss` for content that is damaged.
    pub(super) async fn export(
        &self,
        scope: &Scope,
        from: &ImageStore,
        to: ExportStream,
        progress: &ProgressSink,
    ) -> Result<()> {
        progress.say("Exporting");
        let names = names(from)?;
        let images = StoreDocuments { store: self.store.clone(), scope: scope.clone() };
        let runtime = tokio::runtime::Handle::current();
        let work = move || {
            let options = options(&to);
            // Its lookups block, which this thread may.
            let plan = runtime.block_on(ExportPlan::new(&images, &names, &options))?;
            write(&images, plan, &to)
        };
        self.threads.run("export", work).await?;
        progress.say("Completed export");
        Ok(())
    }
}

/// The images to export, which must be named in full.
fn names(from: &ImageStore) -> Result<Vec<String>> {
    if let Some(prefix) = from.references.iter().find(|reference| reference.is_prefix) {
        let prefix = &prefix.name;
        return Err(Error::unimplemented(format!("prefix lookup on export not implemented: {prefix:?}")));
    }
    let first = (!from.name.is_empty()).then(|| from.name.clone());
    Ok(first.into_iter().chain(from.references.iter().map(|reference| reference.name.clone())).collect())
}

fn options(to: &ExportStream) -> ExportOptions {
    ExportOptions {
        platforms: Platforms::Only(match &to.platforms[..] {
            [] => vec![Platform::host()],
            named => named.to_vec(),
        }),
        all_platforms: to.all_platforms,
        docker_manifest: !to.skip_docker_manifest,
        non_distributable: !to.skip_non_distributable,
    }
}

fn write(images: &StoreDocuments, plan: ExportPlan, to: &ExportStream) -> Result<()> {
    for (path, entry) in plan.into_entries() {
        to.output.blocking_send(entry.head(&path)?.into())?;
        if let Entry::Blob(descriptor) = entry {
            write_blob(images, &descriptor, to)?;
        }
    }
    to.output.blocking_send(Bytes::from_static(end()))
}

/// Writes a blob, and checks that it is what it should be.
fn write_blob(images: &StoreDocuments, descriptor: &Descriptor, to: &ExportStream) -> Result<()> {
    let Descriptor { digest, size, .. } = descriptor;
    let blob = images.store.open_reader(&images.scope, digest)?;
    let (mut hasher, mut at) = (Hasher::new(digest.algorithm()), 0);
    while at < *size {
        let mut chunk = vec![0; CHUNK.min(usize::try_from(*size - at).unwrap_or(CHUNK))];
        let read = blob.read_at(&mut chunk, at).map_err(|error| Error::io(format!("read content {digest}"), error))?;
        if read == 0 {
            return Err(Error::data_loss(format!("content {digest} ends at byte {at} of {size}")));
        }
        chunk.truncate(read);
        hasher.update(&chunk);
        at += read as u64;
        to.output.blocking_send(chunk.into())?;
    }
    let found = hasher.digest()?;
    if found != *digest {
        return Err(Error::data_loss(format!("content {digest} is damaged: its digest is {found}")));
    }
    to.output.blocking_send(Bytes::from_static(padding(*size)))
}
