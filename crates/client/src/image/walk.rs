//! From an index down to its manifests, bounded.

use crate::oci::{Descriptor, Document, Index, Kind, Manifest};
use crate::{Client, Documents};
use model::{Digest, Error, Result};
use std::collections::HashSet;

/// Most indexes one inside the other. Real images have one or two; endless nesting is an attack.
pub const MAX_INDEX_DEPTH: usize = 4;

/// A document that lists others.
#[derive(Clone, Debug)]
#[allow(clippy::large_enum_variant, reason = "one at a time, and short-lived")]
pub enum Listing {
    /// Lists manifests.
    Index(Index),
    /// Lists a config and layers.
    Manifest(Manifest),
}

impl Listing {
    /// Reads an index or manifest; `None` if the descriptor is of neither.
    ///
    /// # Errors
    /// `InvalidArgument` for a document that is not what its descriptor says, or could be taken for something else.
    pub fn parse(descriptor: &Descriptor, bytes: &[u8]) -> Result<Option<Self>> {
        let what = format!("content {}", descriptor.digest);
        match Kind::of(&descriptor.media_type) {
            Kind::Index => Ok(Some(Self::Index(Index::parse(&what, bytes)?))),
            Kind::Manifest => Ok(Some(Self::Manifest(Manifest::parse(&what, bytes)?))),
            Kind::Config | Kind::Layer | Kind::Other => Ok(None),
        }
    }

    /// What it lists, in order.
    pub fn children(&self) -> Vec<Descriptor> {
        match self {
            Self::Index(index) => index.manifests.clone(),
            Self::Manifest(manifest) => std::iter::once(&manifest.config).chain(&manifest.layers).cloned().collect(),
        }
    }
}

/// Refuses an index nested deeper than any real one.
///
/// # Errors
/// `InvalidArgument`, naming the index.
pub fn check_depth(descriptor: &Descriptor, depth: usize) -> Result<()> {
    if depth < MAX_INDEX_DEPTH || Kind::of(&descriptor.media_type) != Kind::Index {
        return Ok(());
    }
    Err(Error::invalid_argument(format!("index {} is nested more than {MAX_INDEX_DEPTH} deep", descriptor.digest)))
}

impl Documents for Client {
    async fn document(&self, descriptor: &Descriptor) -> Result<bytes::Bytes> {
        Ok(self.read_small(descriptor).await?.into())
    }
}

/// Everything below `target`, itself first, in the order documents list it. `select` says which children count. An
/// index that is listed several times is looked at once.
pub async fn descend(
    documents: &impl Documents,
    target: &Descriptor,
    mut select: impl FnMut(Vec<Descriptor>) -> Vec<Descriptor>,
    mut visit: impl FnMut(&Descriptor, &[Descriptor]) -> Result<()>,
) -> Result<()> {
    let mut walk = Walk::from(target);
    while let Some((descriptor, depth)) = walk.next()? {
        let children = match Kind::of(&descriptor.media_type) {
            Kind::Index | Kind::Manifest => {
                let bytes = documents.document(&descriptor).await?;
                let listing = Listing::parse(&descriptor, &bytes)?;
                listing.map(|listing| listing.children()).unwrap_or_default()
            }
            Kind::Config | Kind::Layer | Kind::Other => Vec::new(),
        };
        let children = select(children);
        visit(&descriptor, &children)?;
        walk.enter(children, depth);
    }
    Ok(())
}

/// What is still to be looked at below a document, nearest first.
#[derive(Debug)]
pub(super) struct Walk {
    /// The last comes first; each with the number of indexes around it.
    pending: Vec<(Descriptor, usize)>,
    /// Indexes that were looked at.
    indexes: HashSet<Digest>,
}

impl Walk {
    pub(super) fn from(target: &Descriptor) -> Self {
        Self { pending: vec![(target.clone(), 0)], indexes: HashSet::new() }
    }

    /// What comes next, with its depth. An index comes once: a few of them can list each other more often than there is
    /// time.
    ///
    /// # Errors
    /// Those of [`check_depth`].
    pub(super) fn next(&mut self) -> Result<Option<(Descriptor, usize)>> {
        while let Some((descriptor, depth)) = self.pending.pop() {
            check_depth(&descriptor, depth)?;
            let is_index = Kind::of(&descriptor.media_type) == Kind::Index;
            if !is_index || self.indexes.insert(descriptor.digest.clone()) {
                return Ok(Some((descriptor, depth)));
            }
        }
        Ok(None)
    }

    /// Goes on with `children` of what is at `depth`, the first of them first.
    pub(super) fn enter(&mut self, children: Vec<Descriptor>, depth: usize) {
        self.pending.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{media_types, sha256};
    use crate::{ImageContent, Platforms};
    use std::collections::HashMap;

    struct Memory(HashMap<String, Vec<u8>>);

    impl Documents for Memory {
        async fn document(&self, descriptor: &Descriptor) -> Result<bytes::Bytes> {
            let found = self.0.get(descriptor.digest.as_str());
            found.cloned().map(Into::into).ok_or_else(|| Error::not_found(descriptor.digest.to_string()))
        }
    }

    /// Each index lists the next one `times` times.
    fn nested(depth: usize, times: usize) -> (Memory, Descriptor) {
        let mut memory = HashMap::new();
        let mut inner = Descriptor { media_type: media_types::LAYER_GZIP.into(), ..Descriptor::default() };
        for _ in 0..depth {
            let index = serde_json::to_vec(&Index { manifests: vec![inner; times], ..Index::default() }).unwrap();
            inner =
                Descriptor { media_type: media_types::INDEX.into(), digest: sha256(&index), ..Descriptor::default() };
            memory.insert(inner.digest.to_string(), index);
        }
        (Memory(memory), inner)
    }

    #[tokio::test]
    async fn nesting_is_bounded() {
        let (memory, target) = nested(MAX_INDEX_DEPTH, 1);
        let mut seen = 0;
        let visit = |_: &Descriptor, _: &[Descriptor]| {
            seen += 1;
            Ok(())
        };
        descend(&memory, &target, |children| children, visit).await.unwrap();
        assert_eq!(seen, MAX_INDEX_DEPTH + 1);

        let (memory, target) = nested(MAX_INDEX_DEPTH + 1, 1);
        let error = descend(&memory, &target, |children| children, |_, _| Ok(())).await.unwrap_err();
        assert!(error.to_string().contains("nested more than"), "{error}");
    }

    #[tokio::test]
    async fn an_index_is_looked_at_once() {
        // 10^12 ways down, and nothing there.
        let (memory, target) = nested(MAX_INDEX_DEPTH, 1000);
        let mut seen = 0;
        let visit = |_: &Descriptor, _: &[Descriptor]| {
            seen += 1;
            Ok(())
        };
        descend(&memory, &target, |children| children, visit).await.unwrap();
        assert_eq!(seen, MAX_INDEX_DEPTH + 1000);
        // No image at all is found as fast.
        let (mut memory, target) = nested(MAX_INDEX_DEPTH, 1000);
        let leaves = |bytes: &Vec<u8>| String::from_utf8_lossy(bytes).contains(media_types::LAYER_GZIP);
        let innermost = memory.0.values_mut().find(|bytes| leaves(bytes)).unwrap();
        *innermost = serde_json::to_vec(&Index::default()).unwrap();
        let error = ImageContent::find(&memory, &target, &Platforms::host()).await.unwrap_err();
        assert!(error.is_not_found(), "{error}");
    }

    #[test]
    fn an_ambiguous_document_is_refused() {
        let manifest = Descriptor { media_type: media_types::MANIFEST.into(), ..Descriptor::default() };
        let both = br#"{"schemaVersion":2,"manifests":[],"config":{},"layers":[]}"#;
        let error = Listing::parse(&manifest, both).unwrap_err();
        assert!(error.to_string().contains("found an index"), "{error}");
        let index = Descriptor { media_type: media_types::INDEX.into(), ..Descriptor::default() };
        assert!(Listing::parse(&index, both).is_err());
        assert!(Listing::parse(&index, br#"{"fsLayers":[1]}"#).is_err());
    }
}
