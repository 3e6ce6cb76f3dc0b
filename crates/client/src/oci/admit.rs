//! Which documents are read at all: small ones that can be taken for one thing only.

use super::Kind;
use model::{Error, Result};
use serde::{Deserialize, de::IgnoredAny};

/// Most bytes of a manifest, index or config, as in containerd.
pub const MAX_DOCUMENT: u64 = 8 << 20;

/// Refuses documents that could only be meant to exhaust memory.
pub(crate) fn check_document_size(what: &str, size: u64) -> Result<()> {
    if size <= MAX_DOCUMENT {
        return Ok(());
    }
    Err(Error::invalid_argument(format!(
        "{what} has {size} bytes: a manifest, index or config has at most {MAX_DOCUMENT}"
    )))
}

/// The fields that tell an index from a manifest, whatever the descriptor claims.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Shape {
    #[serde(default)]
    media_type: String,
    #[serde(default)]
    manifests: Option<IgnoredAny>,
    #[serde(default)]
    config: Option<IgnoredAny>,
    #[serde(default)]
    layers: Option<IgnoredAny>,
    #[serde(default)]
    fs_layers: Option<IgnoredAny>,
}

impl Shape {
    /// Refuses a document that two readers could take for different things (CVE-2021-41190).
    pub(super) fn check(&self, what: &str, expected: Kind) -> Result<()> {
        let stated = Kind::of(&self.media_type);
        let problem = match expected {
            Kind::Index | Kind::Manifest if self.fs_layers.is_some() => "it has schema 1, which is not supported",
            Kind::Manifest if self.manifests.is_some() || stated == Kind::Index => {
                "expected a manifest but found an index"
            }
            Kind::Index if self.config.is_some() || self.layers.is_some() || stated == Kind::Manifest => {
                "expected an index but found a manifest"
            }
            _ => return Ok(()),
        };
        Err(Error::invalid_argument(format!("{what}: media type: {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use crate::oci::{Document, Index, Manifest};

    fn refusal<T: Document>(bytes: &[u8]) -> String {
        T::parse("it", bytes).map(drop).unwrap_err().to_string()
    }

    #[test]
    fn what_could_be_an_index_and_a_manifest_is_refused() {
        let both = br#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#;
        assert!(refusal::<Manifest>(both).contains("found an index"));
        assert!(refusal::<Index>(both).contains("found a manifest"));
        let claims = br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json"}"#;
        assert!(refusal::<Index>(claims).contains("found a manifest"));
        assert!(refusal::<Manifest>(br#"{"schemaVersion":1,"fsLayers":[]}"#).contains("schema 1"));
    }

    #[test]
    fn a_large_document_is_not_read() {
        let index = |len: usize| [&b"{\"schemaVersion\":2}"[..], &vec![b' '; len - 19]].concat();
        assert!(Index::parse("it", &index(8 << 20)).is_ok());
        assert!(refusal::<Index>(&index((8 << 20) + 1)).contains("8388609 bytes"));
    }
}
