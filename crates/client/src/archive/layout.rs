//! What kind of archive it is, and the index it stands for.

use super::files::{Archive, Place, blob_path, is_compressed};
use crate::image::Documents;
use crate::oci::{Descriptor, Document, Image, Index, Manifest, docker_reference, media_types, object_of, sha256};
use bytes::Bytes;
use model::{Digest, Error, Result};
use serde::Deserialize;
use std::collections::HashMap;

/// Full name of the image a descriptor stands for.
pub const ANNOTATION_NAME: &str = "io.containerd.image.name";

/// Its tag, or its full name.
pub const ANNOTATION_REF: &str = "org.opencontainers.image.ref.name";

/// An archive's index, and documents that are not in the archive because they were made here.
#[derive(Debug)]
pub struct Layout {
    /// The index itself.
    pub index: Descriptor,
    /// What it lists.
    pub entries: Vec<Descriptor>,
    /// Documents by digest.
    pub made: HashMap<Digest, Bytes>,
    /// Where blobs lie that have no path by digest.
    pub places: HashMap<Digest, Place>,
}

/// Knows, or finds out, what the layers of a Docker archive are.
#[allow(async_fn_in_trait, reason = "used on one thread")]
pub trait Layers {
    /// The descriptor of the layer at `path`, and where its bytes are.
    async fn layer(&self, path: &str, place: &Place) -> Result<(Descriptor, Place)>;
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct OciLayout {
    image_layout_version: String,
}

impl Document for OciLayout {}

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

impl Document for Vec<DockerImage> {}

/// Reads the index of an OCI layout, or makes one from a Docker archive.
///
/// # Errors
/// `InvalidArgument` for something that is neither, `NotFound` for a file that it promises.
pub async fn read(archive: &Archive, layers: &impl Layers) -> Result<Layout> {
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
    docker(archive, &manifest, layers).await
}

fn oci(what: &str, bytes: Bytes) -> Result<Layout> {
    let parsed = Index::parse(&format!("index.json in {what}"), &bytes)?;
    let index = descriptor(media_types::INDEX, &bytes);
    let made = HashMap::from([(index.digest.clone(), bytes)]);
    Ok(Layout { index, entries: parsed.manifests, made, places: HashMap::new() })
}

/// Makes manifests and an index for the images of a Docker archive (`docker save`, formats 1.1 and 1.2).
async fn docker(archive: &Archive, manifest: &[u8], layers: &impl Layers) -> Result<Layout> {
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
        let mut found = Vec::new();
        for path in image.layers.unwrap_or_default() {
            let place = archive.place(&path).ok_or_else(|| missing("layer", &path))?;
            let (layer, place) = layers.layer(&path, place).await?;
            places.insert(layer.digest.clone(), place);
            found.push(layer);
        }
        let manifest = Manifest {
            schema_version: 2,
            media_type: media_types::DOCKER_MANIFEST.into(),
            config: config_descriptor,
            layers: found,
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

/// The media type of a Docker archive's layer.
pub fn docker_layer_type(head: &[u8]) -> &'static str {
    if is_compressed(head) { media_types::DOCKER_LAYER_GZIP } else { media_types::DOCKER_LAYER }
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
    pub fn place(&self, archive: &Archive, digest: &Digest) -> Option<Place> {
        let made = self.made.get(digest).cloned().map(Place::Memory);
        made.or_else(|| self.places.get(digest).cloned()).or_else(|| archive.blob(digest).cloned())
    }
}

/// The documents of an import: made here, in the archive, or in the store from before.
#[derive(Debug)]
pub struct Sources<'a, D> {
    /// What is there already.
    pub store: &'a D,
    /// What the archive holds.
    pub archive: &'a Archive,
    /// What was made of it.
    pub layout: &'a Layout,
}

impl<D: Documents> Documents for Sources<'_, D> {
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
            None => self.store.document(descriptor).await.map_err(|error| {
                if error.is_not_found() {
                    error.context(format!("{digest} is neither in {} nor in the content store", self.archive.what))
                } else {
                    error
                }
            }),
        }
    }
}
