//! Manifests and indexes written anew, with all that this library does not know in them.

use super::ConvertOptions;
use super::layer::oci_type;
use crate::content::{Chunks, Expect};
use crate::gc_labels;
use crate::image::check_depth;
use crate::oci::{Descriptor, Document as _, Kind, sha256};
use crate::{Client, Documents as _};
use model::{Digest, Error, Result};
use serde_json::{Map, Value};
use std::collections::HashMap;

/// The documents of one image or index.
pub(super) struct Rewrite<'a> {
    pub(super) client: &'a Client,
    pub(super) options: &'a ConvertOptions,
    /// What became of layers.
    pub(super) layers: &'a HashMap<Digest, Descriptor>,
}

impl Rewrite<'_> {
    /// Writes what is below `target` anew, where something changes, and it as well.
    pub(super) async fn run(&self, target: &Descriptor) -> Result<Descriptor> {
        self.rewrite(target, 0).await
    }

    async fn rewrite(&self, old: &Descriptor, depth: usize) -> Result<Descriptor> {
        let media_type = if self.options.oci { oci_type(&old.media_type) } else { &old.media_type }.to_owned();
        check_depth(old, depth)?;
        let list = match Kind::of(&old.media_type) {
            Kind::Index => "manifests",
            Kind::Manifest => "layers",
            Kind::Layer => {
                let new = self.layers.get(&old.digest);
                let media_type = new.map_or(media_type, |new| match self.options.oci {
                    true => oci_type(&new.media_type).to_owned(),
                    false => new.media_type.clone(),
                });
                let (digest, size) = new.map_or((&old.digest, old.size), |new| (&new.digest, new.size));
                return Ok(Descriptor { media_type, digest: digest.clone(), size, ..old.clone() });
            }
            // Only the way in which layers are compressed changes, so a configuration stays as it is.
            Kind::Config | Kind::Other => return Ok(Descriptor { media_type, ..old.clone() }),
        };
        let bytes = self.client.document(old).await?;
        let mut document: Map<String, Value> = Map::parse(&format!("content {}", old.digest), &bytes)?;
        let before = document.clone();
        let children = self.rewrite_children(&mut document, list, old, depth).await?;
        if media_type != old.media_type && document.contains_key("mediaType") {
            document.insert("mediaType".to_owned(), media_type.clone().into());
        }
        if document == before {
            return Ok(Descriptor { media_type, ..old.clone() });
        }
        let (digest, size) = self.write(&document, &children).await?;
        Ok(Descriptor { media_type, digest, size, ..old.clone() })
    }

    /// Replaces the descriptors in `document`. Returns what it lists now.
    async fn rewrite_children(
        &self,
        document: &mut Map<String, Value>,
        list: &str,
        old: &Descriptor,
        depth: usize,
    ) -> Result<Vec<Descriptor>> {
        let invalid = || Error::invalid_argument(format!("content {} is not a valid document", old.digest));
        let mut children = Vec::new();
        if let Some(config) = document.get_mut("config") {
            children.push(self.replace(config, depth).await?);
        }
        let Some(entries) = document.get_mut(list).filter(|entries| !entries.is_null()) else { return Ok(children) };
        let mut kept = Vec::new();
        for mut entry in std::mem::take(entries.as_array_mut().ok_or_else(invalid)?) {
            if list == "manifests" && !self.options.platforms.include(&parse(&entry)?) {
                continue;
            }
            children.push(self.replace(&mut entry, depth).await?);
            kept.push(entry);
        }
        if list == "manifests" && kept.is_empty() {
            return Err(Error::not_found(format!("index {} has no image for the platforms asked for", old.digest)));
        }
        *entries = kept.into();
        Ok(children)
    }

    /// Replaces one descriptor, and leaves alone what else it says.
    async fn replace(&self, entry: &mut Value, depth: usize) -> Result<Descriptor> {
        let old = parse(entry)?;
        // Boxed: an index may list indexes.
        let new = Box::pin(self.rewrite(&old, depth + 1)).await?;
        if let Some(entry) = entry.as_object_mut().filter(|_| new != old) {
            entry.insert("mediaType".to_owned(), new.media_type.clone().into());
            entry.insert("digest".to_owned(), new.digest.as_str().into());
            entry.insert("size".to_owned(), new.size.into());
        }
        Ok(new)
    }

    async fn write(&self, document: &Map<String, Value>, children: &[Descriptor]) -> Result<(Digest, u64)> {
        let bytes = serde_json::to_vec(document);
        let bytes = bytes.map_err(|error| Error::internal("write a document").caused_by(error))?;
        let (digest, size) = (sha256(&bytes), bytes.len() as u64);
        let expect = Expect { digest: Some(digest.clone()), size: Some(size), labels: gc_labels(children, false) };
        let reference = format!("convert-{digest}");
        self.client.write_blob(&reference, &expect, Chunks::of("document", bytes.into())).await?;
        Ok((digest, size))
    }
}

fn parse(entry: &Value) -> Result<Descriptor> {
    serde_json::from_value(entry.clone())
        .map_err(|error| Error::invalid_argument("a descriptor of the image is not valid").caused_by(error))
}
