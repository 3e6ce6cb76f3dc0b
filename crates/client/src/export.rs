//! Images out: an OCI layout as a tar stream, which Docker can load as well.
//!
//! Entries come in the order of their paths, without times or owners: the same images give the same bytes.

use crate::image::{Platforms, descend};
use crate::import::{ANNOTATION_NAME, ANNOTATION_REF, blob_path};
use crate::oci::{Descriptor, Index, Kind, Manifest, familiar_name, media_types, object_of};
use crate::{Client, ImageContent};
use model::{Algorithm, Digest, Error, Result};
use serde::Serialize;
use sha2::{Digest as _, Sha256, Sha384, Sha512};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{self, BufWriter, Write as _};

/// What to export and how.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Of an index, images for these platforms are taken; the first is the one Docker loads.
    pub platforms: Vec<Platforms>,
    /// Whether images for other platforms are taken too.
    pub all_platforms: bool,
    /// Whether `manifest.json` is written, for Docker.
    pub docker_manifest: bool,
    /// Whether layers are taken that may not be passed on.
    pub non_distributable: bool,
}

/// A file of the archive.
#[allow(clippy::large_enum_variant, reason = "nearly all are blobs")]
enum Entry {
    Folder,
    Bytes { bytes: Vec<u8>, mode: u32 },
    Blob(Descriptor),
}

/// An image of `manifest.json`.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    repo_tags: Vec<String>,
    layers: Vec<String>,
}

impl Client {
    /// Writes images `names` to `output` as one archive.
    pub async fn export(&self, names: &[String], output: File, options: &ExportOptions) -> Result<()> {
        let mut entries = BTreeMap::new();
        let mut manifests = Vec::new();
        // By digest of the manifest: an image with two names is one image with two tags.
        let mut docker: BTreeMap<Digest, (Manifest, Vec<String>)> = BTreeMap::new();
        for name in names {
            let mut target = self.image_target(name).await?;
            self.collect(&target, options, &mut entries).await?;
            if options.docker_manifest
                && let Some(image) = self.for_docker(&target, options).await?
            {
                let tags = &mut docker.entry(image.descriptor.digest).or_insert((image.manifest, Vec::new())).1;
                tags.push(familiar_name(name)?);
            }
            for (key, value) in self.blob_info(&target.digest).await?.labels {
                if key.starts_with("containerd.io/distribution.source") {
                    target.annotations.insert(key, value);
                }
            }
            target.annotations.insert(ANNOTATION_NAME.into(), name.clone());
            target.annotations.insert(ANNOTATION_REF.into(), object_of(name).into());
            manifests.push(target);
        }
        let index = Index { schema_version: 2, media_type: media_types::INDEX.into(), manifests, ..Index::default() };
        entries.insert("index.json".into(), json(&index, 0o644)?);
        entries.insert("oci-layout".into(), json(&serde_json::json!({"imageLayoutVersion": "1.0.0"}), 0o444)?);
        if !docker.is_empty() {
            let images: Vec<DockerImage> = docker.into_values().map(docker_image).collect();
            entries.insert("manifest.json".into(), json(&images, 0o644)?);
        }
        self.write(entries, output).await
    }

    /// Adds every blob below `target`.
    async fn collect(
        &self,
        target: &Descriptor,
        options: &ExportOptions,
        entries: &mut BTreeMap<String, Entry>,
    ) -> Result<()> {
        if !matches!(Kind::of(&target.media_type), Kind::Index | Kind::Manifest) {
            return Err(Error::invalid_argument(format!(
                "only manifests may be exported, not {:?}",
                target.media_type
            )));
        }
        let select = |mut children: Vec<Descriptor>| {
            if !options.all_platforms {
                children.retain(|child| options.platforms.iter().any(|platforms| platforms.include(child)));
            }
            if !options.non_distributable {
                children.retain(|child| !is_non_distributable(&child.media_type));
            }
            children
        };
        let mut algorithms = BTreeSet::new();
        let visit = |descriptor: &Descriptor, _: &[Descriptor]| {
            algorithms.insert(descriptor.digest.algorithm().as_str());
            entries.insert(blob_path(&descriptor.digest), Entry::Blob(descriptor.clone()));
            Ok(())
        };
        descend(self, target, select, visit).await?;
        entries.insert("blobs/".into(), Entry::Folder);
        entries.extend(algorithms.into_iter().map(|algorithm| (format!("blobs/{algorithm}/"), Entry::Folder)));
        Ok(())
    }

    /// The one image of `target` that Docker is to load.
    async fn for_docker(&self, target: &Descriptor, options: &ExportOptions) -> Result<Option<ImageContent>> {
        let host = Platforms::host();
        let platforms = options.platforms.first().unwrap_or(&host);
        match self.image_content(target, platforms).await {
            Err(error) if error.is_not_found() && options.all_platforms => Ok(None),
            Ok(image) if Kind::of(&image.manifest.config.media_type) != Kind::Config => Ok(None),
            image => image.map(Some),
        }
    }

    async fn write(&self, entries: BTreeMap<String, Entry>, output: File) -> Result<()> {
        let failed = |error: io::Error| Error::io("write the archive", error);
        let mut tar = BufWriter::with_capacity(1 << 20, output);
        for (path, entry) in entries {
            match entry {
                Entry::Folder => {
                    tar.write_all(&header(&path, 0, 0o755, tar::EntryType::Directory)?).map_err(failed)?;
                }
                Entry::Bytes { bytes, mode } => {
                    tar.write_all(&header(&path, bytes.len() as u64, mode, tar::EntryType::Regular)?)
                        .map_err(failed)?;
                    tar.write_all(&bytes).map_err(failed)?;
                    tar.write_all(padding(bytes.len() as u64)).map_err(failed)?;
                }
                Entry::Blob(descriptor) => self.write_blob_entry(&path, &descriptor, &mut tar).await?,
            }
        }
        tar.write_all(&[0; 2 * BLOCK]).map_err(failed)?;
        tar.into_inner().map_err(|error| failed(error.into_error()))?;
        Ok(())
    }

    /// Writes a blob, and checks that it is what it should be.
    async fn write_blob_entry(&self, path: &str, descriptor: &Descriptor, tar: &mut BufWriter<File>) -> Result<()> {
        let failed = |error: io::Error| Error::io("write the archive", error);
        let Descriptor { digest, size, .. } = descriptor;
        let mut blob = self.read_blob(digest).await?;
        tar.write_all(&header(path, *size, 0o444, tar::EntryType::Regular)?).map_err(failed)?;
        let (mut hash, mut len) = (Hash::new(digest.algorithm()), 0);
        while let Some(chunk) = blob.next().await? {
            hash.update(&chunk);
            len += chunk.len() as u64;
            tar.write_all(&chunk).map_err(failed)?;
        }
        let found = hash.finish()?;
        if len != *size || found != *digest {
            return Err(Error::data_loss(format!(
                "content {digest} is damaged: it has {len} bytes with digest {found} instead of {size} bytes"
            )));
        }
        tar.write_all(padding(len)).map_err(failed)
    }
}

/// A running hash of one of the algorithms.
enum Hash {
    Sha256(Sha256),
    Sha384(Sha384),
    Sha512(Sha512),
}

impl Hash {
    fn new(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Sha256 => Self::Sha256(Sha256::new()),
            Algorithm::Sha384 => Self::Sha384(Sha384::new()),
            Algorithm::Sha512 => Self::Sha512(Sha512::new()),
        }
    }

    fn update(&mut self, bytes: &[u8]) {
        match self {
            Self::Sha256(hash) => hash.update(bytes),
            Self::Sha384(hash) => hash.update(bytes),
            Self::Sha512(hash) => hash.update(bytes),
        }
    }

    fn finish(self) -> Result<Digest> {
        match self {
            Self::Sha256(hash) => Digest::from_hash(Algorithm::Sha256, &hash.finalize()),
            Self::Sha384(hash) => Digest::from_hash(Algorithm::Sha384, &hash.finalize()),
            Self::Sha512(hash) => Digest::from_hash(Algorithm::Sha512, &hash.finalize()),
        }
    }
}

fn docker_image((manifest, repo_tags): (Manifest, Vec<String>)) -> DockerImage {
    let layers = manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
    DockerImage { config: blob_path(&manifest.config.digest), repo_tags, layers }
}

fn json(document: &impl Serialize, mode: u32) -> Result<Entry> {
    let bytes = serde_json::to_vec(document);
    let bytes = bytes.map_err(|error| Error::internal("write a document").caused_by(error))?;
    Ok(Entry::Bytes { bytes, mode })
}

/// Bytes of a block of tar.
const BLOCK: usize = 512;

fn padding(len: u64) -> &'static [u8] {
    const ZEROS: [u8; BLOCK] = [0; BLOCK];
    let rest = usize::try_from(len % BLOCK as u64).unwrap_or_default();
    if rest == 0 { &[] } else { &ZEROS[rest..] }
}

fn header(path: &str, size: u64, mode: u32, kind: tar::EntryType) -> Result<[u8; BLOCK]> {
    let mut header = tar::Header::new_ustar();
    header.set_path(path).map_err(|error| Error::io(format!("write {path} to the archive"), error))?;
    header.set_entry_type(kind);
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_uid(0);
    header.set_gid(0);
    header.set_cksum();
    Ok(*header.as_bytes())
}

/// Layers that only their maker may hand out (Windows' base layers).
fn is_non_distributable(media_type: &str) -> bool {
    media_type.starts_with("application/vnd.oci.image.layer.nondistributable.")
        || media_type.starts_with("application/vnd.docker.image.rootfs.foreign.")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_filled_up() {
        assert_eq!((padding(0).len(), padding(1).len(), padding(512).len(), padding(1023).len()), (0, 511, 0, 1));
    }

    #[test]
    fn a_hash_is_of_its_algorithm() {
        let mut hash = Hash::new(Algorithm::Sha512);
        hash.update(b"x");
        assert!(hash.finish().unwrap().as_str().starts_with("sha512:"));
    }
}
