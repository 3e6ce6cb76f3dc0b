//! Images of the tests: a few files in layers, in a registry.

use bytes::Bytes;
use distribution::{Mounted, Repository};
use flate2::{Compression, write::GzEncoder};
use model::{Algorithm, Digest};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::io::Write as _;

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const LAYER: &str = "application/vnd.oci.image.layer.v1.tar+gzip";

pub fn digest(bytes: &[u8]) -> Digest {
    Digest::from_hash(Algorithm::Sha256, &Sha256::digest(bytes)).unwrap()
}

/// A layer: its blob and its uncompressed digest.
#[derive(Clone, Debug)]
pub struct Layer {
    pub blob: Vec<u8>,
    pub diff_id: Digest,
}

impl Layer {
    /// A layer with these files, of mode 0644.
    pub fn new(files: &[(&str, &[u8])]) -> Self {
        let mut tar = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            header.set_mtime(1_700_000_000);
            tar.append_data(&mut header, path, *content).unwrap();
        }
        Self::of(&tar.into_inner().unwrap())
    }

    /// A layer of this archive.
    pub fn of(plain: &[u8]) -> Self {
        let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
        gzip.write_all(plain).unwrap();
        Self { blob: gzip.finish().unwrap(), diff_id: digest(plain) }
    }

    /// A layer with one file `name` of `size` bytes that do not compress; `seed` tells them apart.
    pub fn random(name: &str, size: usize, seed: u64) -> Self {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()
        };
        let content: Vec<u8> = std::iter::repeat_with(&mut next).flatten().take(size).collect();
        Self::new(&[(name, &content)])
    }

    pub fn digest(&self) -> Digest {
        digest(&self.blob)
    }
}

/// An image as it is in a registry.
#[derive(Clone, Debug)]
pub struct Image {
    pub manifest: Vec<u8>,
    pub config: Vec<u8>,
    pub layers: Vec<Layer>,
}

impl Image {
    pub fn new(layers: Vec<Layer>) -> Self {
        Self::for_platform(layers, "amd64")
    }

    pub fn for_platform(layers: Vec<Layer>, architecture: &str) -> Self {
        let types = vec![LAYER; layers.len()];
        Self::build(layers, architecture, &types)
    }

    /// An image whose layers have these media types.
    pub fn with_types(layers: Vec<Layer>, types: &[&str]) -> Self {
        Self::build(layers, "amd64", types)
    }

    fn build(layers: Vec<Layer>, architecture: &str, types: &[&str]) -> Self {
        let diff_ids: Vec<&str> = layers.iter().map(|layer| layer.diff_id.as_str()).collect();
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Cmd": ["/bin/sh"]},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let config = config.to_string().into_bytes();
        let listed: Vec<Value> =
            layers.iter().zip(types).map(|(layer, media_type)| descriptor(media_type, &layer.blob)).collect();
        let manifest = json!({
            "schemaVersion": 2, "mediaType": MANIFEST, "config": descriptor(CONFIG, &config), "layers": listed,
        });
        Self { manifest: manifest.to_string().into_bytes(), config, layers }
    }

    pub fn digest(&self) -> Digest {
        digest(&self.manifest)
    }

    pub fn config_digest(&self) -> Digest {
        digest(&self.config)
    }

    /// Names of its snapshots, the lowest first.
    pub fn chain(&self) -> Vec<Digest> {
        client::oci::chain_ids(&self.layers.iter().map(|layer| layer.diff_id.clone()).collect::<Vec<_>>())
    }

    pub async fn push(&self, to: &Repository, tag: &str) {
        push_blob(to, &self.config).await;
        for layer in &self.layers {
            push_blob(to, &layer.blob).await;
        }
        to.put_manifest(tag, MANIFEST, Bytes::copy_from_slice(&self.manifest)).await.unwrap();
    }
}

/// An index of images by architecture.
pub fn index(images: &[(&str, &Image)]) -> Vec<u8> {
    let manifests: Vec<Value> = images
        .iter()
        .map(|(architecture, image)| {
            let mut entry = descriptor(MANIFEST, &image.manifest);
            entry["platform"] = json!({"architecture": architecture, "os": "linux"});
            entry
        })
        .collect();
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}).to_string().into_bytes()
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": digest(bytes).as_str(), "size": bytes.len()})
}

pub async fn push_blob(to: &Repository, bytes: &[u8]) {
    if let Mounted::Upload(mut upload) = to.upload(&digest(bytes), None).await.unwrap() {
        upload.whole(bytes.len() as u64, tokio_stream::once(Ok(Bytes::copy_from_slice(bytes)))).await.unwrap();
    }
}
