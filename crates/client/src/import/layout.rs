//! What kind of archive it is, and the index it stands for.

use super::archive::{Archive, Place, blob_path, is_compressed};
use super::stream::reference;
use crate::Client;
use crate::content::Expect;
use crate::image::Documents;
use crate::oci::{Descriptor, Document as _, Image, Index, Manifest, docker_reference, media_types, object_of, sha256};
use crate::progress::Progress;
use bytes::Bytes;
use model::{Digest, Error, Result};
use serde::Deserialize;
use std::collections::HashMap;
use std::sync::Arc;

/// Full name of the image a descriptor stands for.
pub(crate) const ANNOTATION_NAME: &str = "io.containerd.image.name";

/// Its tag, or its full name.
pub(crate) const ANNOTATION_REF: &str = "org.opencontainers.image.ref.name";

/// How images of an archive get their names.
#[derive(Clone, Debug)]
pub struct Naming {
    /// Put before a mere tag: `prefix:tag`.
    pub prefix: String,
    /// Whether images with another full name than `prefix` are left out.
    pub only_prefix: bool,
    /// Whether each image also gets the name `prefix@digest`.
    pub digests: bool,
    /// Whether that is left out for images that have a name.
    pub skip_digest_for_named: bool,
}

/// An archive's index, and documents that are not in the archive because they were made here.
#[derive(Debug)]
pub(crate) struct Layout {
    pub(crate) index: Descriptor,
    pub(crate) entries: Vec<Descriptor>,
    pub(crate) made: HashMap<Digest, Bytes>,
    /// Where blobs lie that have no path by digest.
    pub(crate) places: HashMap<Digest, Place>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciLayout {
    image_layout_version: String,
}

/// An image of a Docker archive.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct DockerImage {
    config: String,
    #[serde(default)]
    repo_tags: Option<Vec<String>>,
    #[serde(default)]
    layers: Option<Vec<String>>,
}

/// Reads the index of an OCI layout, or makes one from a Docker archive.
pub(crate) async fn read(client: &Client, archive: &Archive, progress: &Arc<dyn Progress>) -> Result<Layout> {
    let what = &archive.what;
    if let Some(layout) = archive.document("oci-layout")? {
        let layout = OciLayout::parse(&format!("oci-layout in {what}"), &layout)?;
        if layout.image_layout_version != "1.0.0" {
            let version = layout.image_layout_version;
            return Err(Error::invalid_argument(format!("{what} has unsupported OCI layout version {version:?}")));
        }
        let bytes = archive.document("index.json")?;
        let bytes = bytes.ok_or_else(|| Error::invalid_argument(format!("{what} has no index.json")))?;
        return oci(what, bytes);
    }
    let Some(manifest) = archive.document("manifest.json")? else {
        return Err(Error::invalid_argument(format!(
            "{what} is not an image: it has neither oci-layout nor manifest.json"
        )));
    };
    docker(client, archive, &manifest, progress).await
}

fn oci(what: &str, bytes: Bytes) -> Result<Layout> {
    let parsed = Index::parse(&format!("index.json in {what}"), &bytes)?;
    let index = descriptor(media_types::INDEX, &bytes);
    let made = HashMap::from([(index.digest.clone(), bytes)]);
    Ok(Layout { index, entries: parsed.manifests, made, places: HashMap::new() })
}

/// Makes manifests and an index for the images of a Docker archive (`docker save`, formats 1.1 and 1.2).
async fn docker(client: &Client, archive: &Archive, manifest: &[u8], progress: &Arc<dyn Progress>) -> Result<Layout> {
    let images = Vec::<DockerImage>::parse(&format!("manifest.json in {}", archive.what), manifest)?;
    let (mut made, mut places, mut entries) = (HashMap::new(), HashMap::new(), Vec::new());
    for image in images {
        let missing = |what: &str, path: &str| {
            Error::not_found(format!("{what} {path:?} of manifest.json is not in {}", archive.what))
        };
        let config = archive.document(&image.config)?.ok_or_else(|| missing("config", &image.config))?;
        let config_descriptor = descriptor(media_types::DOCKER_CONFIG, &config);
        let platform = Image::parse(&format!("config {}", image.config), &config)?.platform;
        made.insert(config_descriptor.digest.clone(), config);
        let mut layers = Vec::new();
        for path in image.layers.unwrap_or_default() {
            let place = archive.place(&path).ok_or_else(|| missing("layer", &path))?;
            let layer = docker_layer(client, &path, place, progress).await?;
            places.insert(layer.digest.clone(), place.clone());
            layers.push(layer);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_types::DOCKER_MANIFEST.into(),
            config: config_descriptor,
            layers,
            annotations: Default::default(),
        };
        let bytes = json(&manifest)?;
        let mut entry = descriptor(media_types::DOCKER_MANIFEST, &bytes);
        made.insert(entry.digest.clone(), bytes);
        entry.platform = Some(platform.normalized());
        entries.extend(name_docker(entry, &image.repo_tags.unwrap_or_default())?);
    }
    let index = Index { schema_version: 2, manifests: entries.clone(), ..Index::default() };
    let bytes = json(&index)?;
    let index = descriptor(media_types::INDEX, &bytes);
    made.insert(index.digest.clone(), bytes);
    Ok(Layout { index, entries, made, places })
}

/// One entry for each tag, or one without name.
fn name_docker(entry: Descriptor, tags: &[String]) -> Result<Vec<Descriptor>> {
    if tags.is_empty() {
        return Ok(vec![entry]);
    }
    let named = tags.iter().map(|tag| {
        let name = docker_reference(tag)?;
        let mut entry = entry.clone();
        entry.annotations.insert(ANNOTATION_REF.into(), object_of(&name).into());
        entry.annotations.insert(ANNOTATION_NAME.into(), name);
        Ok(entry)
    });
    named.collect()
}

/// The descriptor of a layer. Its digest is in its path, or becomes known by storing it.
async fn docker_layer(client: &Client, path: &str, place: &Place, progress: &Arc<dyn Progress>) -> Result<Descriptor> {
    let media_type = match is_compressed(&place.head()?) {
        true => media_types::DOCKER_LAYER_GZIP,
        false => media_types::DOCKER_LAYER,
    };
    let digest = match super::archive::digest_of_path(path) {
        Some(digest) => digest,
        None => {
            let expect = Expect { size: Some(place.size()), ..Expect::default() };
            place.store(client, &reference(path), &expect, progress).await?.digest
        }
    };
    Ok(Descriptor { media_type: media_type.into(), digest, size: place.size(), ..Descriptor::default() })
}

fn descriptor(media_type: &str, bytes: &[u8]) -> Descriptor {
    Descriptor {
        media_type: media_type.into(),
        digest: sha256(bytes),
        size: bytes.len() as u64,
        ..Descriptor::default()
    }
}

fn json(document: &impl serde::Serialize) -> Result<Bytes> {
    let bytes = serde_json::to_vec(document);
    bytes.map(Bytes::from).map_err(|error| Error::internal("write a manifest").caused_by(error))
}

impl Layout {
    /// Where the bytes of `digest` are, if this import brings them.
    pub(crate) fn place(&self, archive: &Archive, digest: &Digest) -> Option<Place> {
        let made = self.made.get(digest).cloned().map(Place::Memory);
        made.or_else(|| self.places.get(digest).cloned()).or_else(|| archive.blob(digest).cloned())
    }
}

/// Documents of an import: made here, in the archive, or in the store from before.
pub(crate) struct Sources<'a> {
    pub(crate) client: &'a Client,
    pub(crate) archive: &'a Archive,
    pub(crate) layout: &'a Layout,
}

impl Documents for Sources<'_> {
    async fn document(&self, descriptor: &Descriptor) -> Result<Bytes> {
        let digest = &descriptor.digest;
        match self.layout.place(self.archive, digest) {
            Some(Place::Stored { .. }) => Err(Error::invalid_argument(format!(
                "{} in {} is not a JSON document",
                blob_path(digest),
                self.archive.what
            ))),
            Some(place) => {
                let bytes = place.read(&format!("{} in {}", blob_path(digest), self.archive.what))?;
                let found = sha256(&bytes);
                if digest.algorithm() == found.algorithm() && *digest != found {
                    return Err(Error::failed_precondition(format!(
                        "{} in {} has the wrong content: its digest is {found}",
                        blob_path(digest),
                        self.archive.what
                    )));
                }
                Ok(bytes)
            }
            None => self.client.document(descriptor).await.map_err(|error| {
                if error.is_not_found() {
                    error.context(format!("{digest} is neither in {} nor in the content store", self.archive.what))
                } else {
                    error
                }
            }),
        }
    }
}

impl Naming {
    /// The names that an entry of the index gives its image.
    pub(crate) fn names(&self, entry: &Descriptor) -> Vec<String> {
        let name = self.name(entry);
        let skip = self.skip_digest_for_named && name.is_some();
        let digest =
            (self.digests && !skip && !self.prefix.is_empty()).then(|| format!("{}@{}", self.prefix, entry.digest));
        name.into_iter().chain(digest).collect()
    }

    fn name(&self, entry: &Descriptor) -> Option<String> {
        let annotation = |key: &str| entry.annotations.get(key).filter(|value| !value.is_empty());
        if let Some(name) = annotation(ANNOTATION_NAME) {
            return Some(name.clone()).filter(|name| !self.only_prefix || self.covers(name));
        }
        let name = annotation(ANNOTATION_REF)?;
        if name.contains(['/', ':', '@']) {
            return Some(name.clone()).filter(|name| !self.only_prefix || self.covers(name));
        }
        (!self.prefix.is_empty()).then(|| format!("{}:{name}", self.prefix))
    }

    /// Whether `name` is the prefix, or goes on from it at the end of a part.
    fn covers(&self, name: &str) -> bool {
        let rest = name.strip_prefix(&self.prefix);
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(annotations: &[(&str, &str)]) -> Descriptor {
        let annotations = annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        Descriptor { annotations, ..Descriptor::default() }
    }

    #[test]
    fn names_come_from_annotations() {
        let naming = |prefix: &str, only_prefix| Naming {
            prefix: prefix.into(),
            only_prefix,
            digests: false,
            skip_digest_for_named: false,
        };
        let (tag, full) =
            (entry(&[(ANNOTATION_REF, "v1")]), entry(&[(ANNOTATION_NAME, "reg/a:1"), (ANNOTATION_REF, "1")]));
        assert_eq!(naming("import-2026-11-24", false).names(&tag), ["import-2026-11-24:v1"]);
        assert_eq!(naming("import-2026-11-24", false).names(&full), ["reg/a:1"]);
        assert_eq!(naming("reg/a", true).names(&full), ["reg/a:1"]);
        assert!(naming("reg/ab", true).names(&full).is_empty());
        assert!(naming("re", true).names(&full).is_empty());
        assert!(naming("x", false).names(&entry(&[])).is_empty());
    }

    #[test]
    fn digest_names_are_added_on_request() {
        let naming = Naming { prefix: "x".into(), only_prefix: false, digests: true, skip_digest_for_named: true };
        let unnamed = entry(&[]);
        assert_eq!(naming.names(&unnamed), [format!("x@{}", unnamed.digest)]);
        assert_eq!(naming.names(&entry(&[(ANNOTATION_REF, "1")])), ["x:1"]);
    }
}
