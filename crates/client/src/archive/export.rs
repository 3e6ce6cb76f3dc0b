//! What an export's archive is made of.

use super::files::blob_path;
use super::framing;
use super::layout::{ANNOTATION_NAME, ANNOTATION_REF};
use crate::image::{Documents, ImageContent, Platforms, descend};
use crate::oci::{Descriptor, Index, Kind, Manifest, familiar_name, is_non_distributable, media_types, object_of};
use model::{Digest, Error, Labels, Result};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What to export and how.
#[derive(Clone, Debug)]
pub struct ExportOptions {
    /// Of an index, images for these platforms are taken; the nearest is the one Docker loads.
    pub platforms: Platforms,
    /// Whether images for other platforms are taken too.
    pub all_platforms: bool,
    /// Whether `manifest.json` is written, for Docker.
    pub docker_manifest: bool,
    /// Whether layers are taken that may not be passed on.
    pub non_distributable: bool,
}

/// Where images are looked up.
#[allow(async_fn_in_trait, reason = "used on one thread")]
pub trait Images: Documents {
    /// What image `name` points to.
    async fn target(&self, name: &str) -> Result<Descriptor>;

    /// The labels of a blob.
    async fn labels(&self, digest: &Digest) -> Result<Labels>;
}

/// The files of an archive to be written, by path.
#[derive(Debug)]
pub struct ExportPlan {
    entries: BTreeMap<String, Entry>,
}

/// A file of the archive.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "nearly all are blobs")]
pub enum Entry {
    /// A folder.
    Folder,
    /// A document, with its mode.
    Bytes(Vec<u8>, u32),
    /// A blob.
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

impl ExportPlan {
    /// The archive that holds images `names`.
    ///
    /// # Errors
    /// `NotFound`, naming the image or the content.
    pub async fn new(images: &impl Images, names: &[String], options: &ExportOptions) -> Result<Self> {
        let mut plan = Self { entries: BTreeMap::new() };
        let mut manifests = Vec::new();
        // By digest of the manifest: an image with two names is one image with two tags.
        let mut docker: BTreeMap<Digest, (Manifest, Vec<String>)> = BTreeMap::new();
        for name in names {
            let mut target = images.target(name).await?;
            plan.collect(images, &target, options).await?;
            if options.docker_manifest
                && let Some(image) = for_docker(images, &target, options).await?
            {
                let tags = &mut docker.entry(image.descriptor.digest).or_insert((image.manifest, Vec::new())).1;
                tags.push(familiar_name(name)?);
            }
            for (key, value) in images.labels(&target.digest).await? {
                if key.starts_with("containerd.io/distribution.source") {
                    target.annotations.insert(key, value);
                }
            }
            target.annotations.insert(ANNOTATION_NAME.into(), name.clone());
            target.annotations.insert(ANNOTATION_REF.into(), object_of(name).into());
            manifests.push(target);
        }
        let index = Index { schema_version: 2, media_type: media_types::INDEX.into(), manifests, ..Index::default() };
        plan.entries.insert("index.json".into(), json(&index, 0o644)?);
        plan.entries.insert("oci-layout".into(), json(&serde_json::json!({"imageLayoutVersion": "1.0.0"}), 0o444)?);
        if !docker.is_empty() {
            let images: Vec<DockerImage> = docker.into_values().map(docker_image).collect();
            plan.entries.insert("manifest.json".into(), json(&images, 0o644)?);
        }
        Ok(plan)
    }

    /// The files in the order in which they are written.
    pub fn into_entries(self) -> impl Iterator<Item = (String, Entry)> {
        self.entries.into_iter()
    }

    /// Adds every blob below `target`.
    async fn collect(&mut self, images: &impl Images, target: &Descriptor, options: &ExportOptions) -> Result<()> {
        if !matches!(Kind::of(&target.media_type), Kind::Index | Kind::Manifest) {
            return Err(Error::invalid_argument(format!(
                "only manifests may be exported, not {:?}",
                target.media_type
            )));
        }
        let select = |mut children: Vec<Descriptor>| {
            if !options.all_platforms {
                children.retain(|child| options.platforms.include(child));
            }
            if !options.non_distributable {
                children.retain(|child| !is_non_distributable(&child.media_type));
            }
            children
        };
        let entries = &mut self.entries;
        let mut algorithms = BTreeSet::new();
        let visit = |descriptor: &Descriptor, _: &[Descriptor]| {
            algorithms.insert(descriptor.digest.algorithm().as_str());
            entries.insert(blob_path(&descriptor.digest), Entry::Blob(descriptor.clone()));
            Ok(())
        };
        descend(images, target, select, visit).await?;
        entries.insert("blobs/".into(), Entry::Folder);
        entries.extend(algorithms.into_iter().map(|algorithm| (format!("blobs/{algorithm}/"), Entry::Folder)));
        Ok(())
    }
}

impl Entry {
    /// What of the file at `path` is known without its blob: its header, and all of the rest of a document.
    ///
    /// # Errors
    /// For a path that no tar can hold.
    pub fn head(&self, path: &str) -> Result<Vec<u8>> {
        match self {
            Self::Folder => Ok(framing::folder(path)?.to_vec()),
            Self::Bytes(bytes, mode) => {
                let len = bytes.len() as u64;
                Ok([&framing::file(path, len, *mode)?[..], bytes, framing::padding(len)].concat())
            }
            Self::Blob(descriptor) => Ok(framing::file(path, descriptor.size, 0o444)?.to_vec()),
        }
    }
}

/// The one image of `target` that Docker is to load.
async fn for_docker(
    images: &impl Images,
    target: &Descriptor,
    options: &ExportOptions,
) -> Result<Option<ImageContent>> {
    match ImageContent::find(images, target, &options.platforms).await {
        Err(error) if error.is_not_found() && options.all_platforms => Ok(None),
        Ok(image) if Kind::of(&image.manifest.config.media_type) != Kind::Config => Ok(None),
        image => image.map(Some),
    }
}

fn docker_image((manifest, repo_tags): (Manifest, Vec<String>)) -> DockerImage {
    let layers = manifest.layers.iter().map(|layer| blob_path(&layer.digest)).collect();
    DockerImage { config: blob_path(&manifest.config.digest), repo_tags, layers }
}

fn json(document: &impl Serialize, mode: u32) -> Result<Entry> {
    let bytes = serde_json::to_vec(document);
    bytes.map(|bytes| Entry::Bytes(bytes, mode)).map_err(|error| Error::internal("write a document").caused_by(error))
}
