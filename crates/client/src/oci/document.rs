//! Descriptor, index, manifest and config.

use super::{Kind, Platform, admit::Shape, check_document_size};
use model::{Algorithm, Digest, Error, Labels, Result};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

/// What a name or a document points to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// Media type of the content.
    #[serde(default)]
    pub media_type: String,
    /// Digest of the content.
    #[serde(with = "digest")]
    pub digest: Digest,
    /// Size of the content in bytes.
    pub size: u64,
    /// Other places to fetch it from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub urls: Vec<String>,
    /// Free annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
    /// What it runs on, in an index.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// What kind of artifact a manifest is.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
}

impl Default for Descriptor {
    fn default() -> Self {
        Self {
            media_type: String::new(),
            digest: sha256(b""),
            size: 0,
            urls: Vec::new(),
            annotations: Labels::new(),
            platform: None,
            artifact_type: String::new(),
        }
    }
}

/// A list of manifests.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Index {
    /// Always 2.
    pub schema_version: u32,
    /// Of the index itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// What it lists.
    #[serde(default, deserialize_with = "or_default")]
    pub manifests: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}

/// An image for one platform.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Manifest {
    /// Always 2.
    pub schema_version: u32,
    /// Of the manifest itself.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub media_type: String,
    /// The image's configuration.
    pub config: Descriptor,
    /// The layers, the lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub layers: Vec<Descriptor>,
    /// Free annotations.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Labels::is_empty")]
    pub annotations: Labels,
}

/// An image's configuration.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Image {
    /// What it runs on.
    #[serde(flatten)]
    pub platform: Platform,
    /// How to run it.
    #[serde(default, deserialize_with = "or_default")]
    pub config: Config,
    /// Its layers' uncompressed digests.
    #[serde(default)]
    pub rootfs: RootFs,
    /// How it was built.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<History>,
}

/// How to run an image.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
pub struct Config {
    /// `user[:group]`, names or numbers.
    pub user: String,
    /// `NAME=value` each.
    #[serde(deserialize_with = "or_default")]
    pub env: Vec<String>,
    /// First part of the command.
    #[serde(deserialize_with = "or_default")]
    pub entrypoint: Vec<String>,
    /// Default arguments, or the whole command.
    #[serde(deserialize_with = "or_default")]
    pub cmd: Vec<String>,
    /// Where to start.
    pub working_dir: String,
    /// Free labels.
    #[serde(deserialize_with = "or_default")]
    pub labels: Labels,
    /// The signal that asks it to stop.
    pub stop_signal: String,
}

/// The layers of a root filesystem.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct RootFs {
    /// `layers`, or empty.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// Digests of the uncompressed layers, the lowest first.
    #[serde(default, deserialize_with = "or_default")]
    pub diff_ids: Vec<String>,
}

/// One step of an image's making.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct History {
    /// The command.
    #[serde(default)]
    pub created_by: String,
    /// Whether it made no layer.
    #[serde(default)]
    pub empty_layer: bool,
}

/// A JSON document found by its descriptor.
pub trait Document: DeserializeOwned {
    /// Its role. An index or a manifest must not look like the other, too.
    const KIND: Kind = Kind::Other;

    /// Reads `bytes`; errors name `what`.
    ///
    /// # Errors
    /// `InvalidArgument` for more than [`super::MAX_DOCUMENT`] bytes, and for what is not such a document, or could be taken
    /// for another.
    fn parse(what: &str, bytes: &[u8]) -> Result<Self> {
        check_document_size(what, bytes.len() as u64)?;
        if matches!(Self::KIND, Kind::Index | Kind::Manifest) {
            read::<Shape>(what, bytes)?.check(what, Self::KIND)?;
        }
        read(what, bytes)
    }
}

fn read<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> Result<T> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::invalid_argument(format!("{what} is not a valid document")).caused_by(error))
}

impl Document for Index {
    const KIND: Kind = Kind::Index;
}

impl Document for Manifest {
    const KIND: Kind = Kind::Manifest;
}

impl Document for Image {
    const KIND: Kind = Kind::Config;
}

/// Documents whose fields their reader does not know.
impl Document for serde_json::Map<String, serde_json::Value> {}
impl Document for serde_json::Value {}

/// The SHA-256 digest of `bytes`.
pub fn sha256(bytes: &[u8]) -> Digest {
    let hash = Sha256::digest(bytes);
    match Digest::from_hash(Algorithm::Sha256, &hash) {
        Ok(digest) => digest,
        Err(_) => unreachable!("a SHA-256 hash has 32 bytes"),
    }
}

/// Names of the snapshots that layers with `diff_ids` make, one on top of the other (image spec, config.md).
pub fn chain_ids(diff_ids: &[Digest]) -> Vec<Digest> {
    let mut chain: Vec<Digest> = Vec::with_capacity(diff_ids.len());
    for diff_id in diff_ids {
        let next = match chain.last() {
            None => diff_id.clone(),
            Some(parent) => sha256(format!("{parent} {diff_id}").as_bytes()),
        };
        chain.push(next);
    }
    chain
}

impl Image {
    /// The layers' uncompressed digests, checked.
    pub fn diff_ids(&self) -> Result<Vec<Digest>> {
        self.rootfs.diff_ids.iter().map(|text| text.parse()).collect()
    }
}

/// Go writes an empty list or map as `null`.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::<T>::deserialize(deserializer)?.unwrap_or_default())
}

/// Digests as JSON strings.
mod digest {
    use model::Digest;
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(digest.as_str())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chain_ids_follow_the_image_spec() {
        let layers = [sha256(b"one"), sha256(b"two")];
        let chain = chain_ids(&layers);
        assert_eq!(chain[0], layers[0]);
        assert_eq!(chain[1], sha256(format!("{} {}", layers[0], layers[1]).as_bytes()));
        assert!(chain_ids(&[]).is_empty());
    }

    #[test]
    fn documents_as_go_writes_them_are_read() {
        let config = br#"{"architecture":"amd64","os":"linux","config":{"Env":null,"Cmd":["sh"]},
            "rootfs":{"type":"layers","diff_ids":null}}"#;
        let image = Image::parse("config", config).unwrap();
        assert_eq!((image.platform.os.as_str(), image.config.cmd.len()), ("linux", 1));
        assert!(image.diff_ids().unwrap().is_empty());
        assert!(Image::parse("config", br#"{"os":"linux","config":null}"#).is_ok());

        let error = Manifest::parse("manifest sha256:ab", b"[]").unwrap_err();
        assert!(error.to_string().starts_with("manifest sha256:ab"), "{error}");
        let bad = br#"{"schemaVersion":2,"config":{"digest":"sha256:../..","size":1},"layers":[]}"#;
        assert!(Manifest::parse("manifest", bad).is_err());
    }
}
