//! Manifests whose configuration has no media type of its own (distribution#1622), as old clients pushed them.

use super::{Descriptor, Document as _, Manifest, media_types, sha256};
use model::{Digest, Error, Labels, Result};
use serde::{Deserialize, Serialize};

/// A manifest that was written anew.
#[derive(Clone, Debug)]
pub struct Rewritten {
    /// The document.
    pub bytes: Vec<u8>,
    /// Its digest.
    pub digest: Digest,
    /// What it lists, the configuration first.
    pub children: Vec<Descriptor>,
}

impl Rewritten {
    /// The labels by which it keeps what it lists, named as Go containerd names them here.
    pub fn gc_labels(&self) -> Labels {
        let label = |(index, child): (usize, &Descriptor)| {
            (format!("containerd.io/gc.ref.content.{index}"), child.digest.to_string())
        };
        self.children.iter().enumerate().map(label).collect()
    }
}

/// The fields that Go containerd keeps, in its order.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "camelCase")]
struct Kept {
    schema_version: u32,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    media_type: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    artifact_type: String,
    config: Descriptor,
    #[serde(default)]
    layers: Option<Vec<Descriptor>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    subject: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    annotations: Option<Labels>,
}

impl Manifest {
    /// The manifest in `bytes`, called `what`, with docker's media type for its configuration: the same document that
    /// Go containerd makes of it. `None` if its configuration has another type than [`media_types::LEGACY_CONFIG`].
    ///
    /// # Errors
    /// `InvalidArgument` for what is no manifest.
    pub fn with_config_type(what: &str, bytes: &[u8]) -> Result<Option<Rewritten>> {
        if Self::parse(what, bytes)?.config.media_type != media_types::LEGACY_CONFIG {
            return Ok(None);
        }
        let invalid = || Error::invalid_argument(format!("{what} is not a valid document"));
        let mut kept: Kept = serde_json::from_slice(bytes).map_err(|error| invalid().caused_by(error))?;
        kept.config.media_type = media_types::DOCKER_CONFIG.to_owned();
        kept.annotations = kept.annotations.filter(|annotations| !annotations.is_empty());
        let bytes = as_go_writes_it(&kept)?;
        let children = std::iter::once(kept.config).chain(kept.layers.unwrap_or_default()).collect();
        Ok(Some(Rewritten { digest: sha256(&bytes), bytes, children }))
    }
}

/// `document` indented by three blanks, and with what HTML gives a meaning escaped.
fn as_go_writes_it(document: &impl Serialize) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"   ");
    let written = document.serialize(&mut serde_json::Serializer::with_formatter(&mut bytes, formatter));
    written.map_err(|error| Error::internal("write a manifest").caused_by(error))?;
    // Outside of strings JSON has none of these.
    let escape = |byte: u8| match byte {
        b'<' | b'>' | b'&' => format!("\\u{byte:04x}").into_bytes(),
        other => vec![other],
    };
    Ok(bytes.into_iter().flat_map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest(config: &str, url: &str) -> String {
        let digest = sha256(b"").to_string();
        // Docker writes its own manifests as Go writes this one.
        format!(
            r#"{{
   "schemaVersion": 2,
   "mediaType": "application/vnd.docker.distribution.manifest.v2+json",
   "config": {{
      "mediaType": "{config}",
      "digest": "{digest}",
      "size": 7
   }},
   "layers": [
      {{
         "mediaType": "application/vnd.docker.image.rootfs.diff.tar.gzip",
         "digest": "{digest}",
         "size": 8,
         "urls": [
            "{url}"
         ]
      }}
   ]
}}"#
        )
    }

    #[test]
    fn a_configuration_gets_its_type_and_the_rest_stays() {
        let old = manifest("application/octet-stream", "http://a/?b&c");
        let new = Manifest::with_config_type("it", old.as_bytes()).unwrap().unwrap();
        let expected = manifest(media_types::DOCKER_CONFIG, "http://a/?b\\u0026c");
        assert_eq!(String::from_utf8(new.bytes).unwrap(), expected);
        assert_eq!(new.digest, sha256(expected.as_bytes()));
        assert_eq!(new.children.iter().map(|child| child.size).collect::<Vec<_>>(), [7, 8]);
        assert!(Manifest::with_config_type("it", expected.as_bytes()).unwrap().is_none());
        assert!(Manifest::with_config_type("it", b"{}").is_err());
    }
}
