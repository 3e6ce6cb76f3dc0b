//! Images out: an OCI layout as a tar stream, which Docker can load as well.
//!
//! Entries come in the order of their paths, without times or owners: the same images give the same bytes.

use crate::archive::{Entry, ExportOptions, ExportPlan, Images, end, padding};
use crate::oci::Descriptor;
use crate::{Client, Event, Hash, Progress};
use model::{Digest, Error, Labels, Result};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};

impl Images for Client {
    async fn target(&self, name: &str) -> Result<Descriptor> {
        self.image_target(name).await
    }

    async fn labels(&self, digest: &Digest) -> Result<Labels> {
        Ok(self.blob_info(digest).await?.labels.into_iter().collect())
    }
}

impl Client {
    /// Writes images `names` to `output` as one archive, and tells `progress` of each blob.
    pub async fn export(
        &self,
        names: &[String],
        output: File,
        options: &ExportOptions,
        progress: &dyn Progress,
    ) -> Result<()> {
        let plan = ExportPlan::new(self, names, options).await?;
        let mut tar = BufWriter::with_capacity(1 << 20, output);
        for (path, entry) in plan.into_entries() {
            tar.write_all(&entry.head(&path)?).map_err(failed)?;
            if let Entry::Blob(descriptor) = entry {
                self.write_out(&descriptor, &mut tar, progress).await?;
            }
        }
        tar.write_all(end()).map_err(failed)?;
        tar.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(())
    }

    /// Writes a blob, and checks that it is what it should be.
    async fn write_out(
        &self,
        descriptor: &Descriptor,
        tar: &mut BufWriter<File>,
        progress: &dyn Progress,
    ) -> Result<()> {
        let Descriptor { digest, size, .. } = descriptor;
        progress.on(Event::Blob(digest, *size));
        let mut blob = self.read_blob(digest).await?;
        let (mut hash, mut len) = (Hash::new(digest.algorithm()), 0);
        while let Some(chunk) = blob.next().await? {
            hash.update(&chunk);
            len += chunk.len() as u64;
            tar.write_all(&chunk).map_err(failed)?;
            progress.on(Event::Sent(digest, chunk.len() as u64));
        }
        let found = hash.finish()?;
        if len != *size || found != *digest {
            return Err(Error::data_loss(format!(
                "content {digest} is damaged: it has {len} bytes with digest {found} instead of {size} bytes"
            )));
        }
        tar.write_all(padding(len)).map_err(failed)?;
        progress.on(Event::Stored(digest));
        Ok(())
    }
}

fn failed(error: io::Error) -> Error {
    Error::io("write the archive", error)
}
