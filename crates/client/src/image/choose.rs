//! One image of an index: the one for a platform.

use super::walk::{Listing, check_depth, descend};
use crate::oci::{Descriptor, Image, Kind, Manifest, Platform};
use crate::{Client, Documents};
use model::{Digest, Error, Result};

/// Which platforms count.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// All of them.
    All,
    /// What a machine of this platform runs, the nearest first.
    RunnableOn(Platform),
    /// This one alone.
    Only(Platform),
}

/// An image for one platform, with its documents.
#[derive(Clone, Debug)]
pub struct ImageContent {
    /// Where the manifest is.
    pub descriptor: Descriptor,
    /// The manifest.
    pub manifest: Manifest,
    /// The configuration.
    pub image: Image,
}

impl Platforms {
    /// What this machine runs.
    pub fn host() -> Self {
        Self::RunnableOn(Platform::host())
    }

    /// What `text` names, or what this machine runs.
    pub fn parse_or_host(text: Option<&str>) -> Result<Self> {
        text.filter(|text| !text.is_empty())
            .map_or_else(|| Ok(Self::host()), |text| Platform::parse(text).map(Self::RunnableOn))
    }

    /// How near `platform` is, 0 being best; `None` if it does not count.
    pub fn rank(&self, platform: &Platform) -> Option<usize> {
        match self {
            Self::All => Some(0),
            Self::RunnableOn(host) => host.rank(platform),
            Self::Only(wanted) => wanted.equals(platform).then_some(0),
        }
    }

    /// The entries of an index that count, the nearest first, those that name no platform last.
    pub(crate) fn sort(&self, mut children: Vec<Descriptor>) -> Vec<Descriptor> {
        children.retain(|child| self.include(child));
        children.sort_by_key(|child| {
            child.platform.as_ref().and_then(|platform| self.rank(platform)).unwrap_or(usize::MAX)
        });
        children
    }

    /// Whether an entry of an index counts: one that names no platform does.
    pub fn include(&self, descriptor: &Descriptor) -> bool {
        descriptor.platform.as_ref().is_none_or(|platform| self.rank(platform).is_some())
    }
}

impl std::fmt::Display for Platforms {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::All => out.write_str("any platform"),
            Self::RunnableOn(platform) | Self::Only(platform) => write!(out, "platform {platform}"),
        }
    }
}

impl ImageContent {
    /// Finds the image below `target` that is nearest to `platforms`.
    pub async fn find(documents: &impl Documents, target: &Descriptor, platforms: &Platforms) -> Result<Self> {
        let mut pending = vec![(target.clone(), 0)];
        while let Some((descriptor, depth)) = pending.pop() {
            check_depth(&descriptor, depth)?;
            let bytes = match Kind::of(&descriptor.media_type) {
                Kind::Index | Kind::Manifest => documents.document(&descriptor).await?,
                Kind::Config | Kind::Layer | Kind::Other => {
                    return Err(Error::not_found(format!(
                        "content {} is no image: unexpected media type {:?}",
                        descriptor.digest, descriptor.media_type
                    )));
                }
            };
            match Listing::parse(&descriptor, &bytes)? {
                Some(Listing::Manifest(manifest)) => {
                    if let Some(found) = Self::open(documents, descriptor, manifest, platforms, depth).await? {
                        return Ok(found);
                    }
                }
                Some(Listing::Index(index)) => {
                    let children = platforms.sort(index.manifests);
                    // The last is looked at first.
                    pending.extend(children.into_iter().rev().map(|child| (child, depth + 1)));
                }
                None => {}
            }
        }
        Err(Error::not_found(format!("no match for {platforms} in manifest {}", target.digest)))
    }

    /// The image of `manifest`, unless its configuration shows that it is for another platform.
    async fn open(
        documents: &impl Documents,
        descriptor: Descriptor,
        manifest: Manifest,
        platforms: &Platforms,
        depth: usize,
    ) -> Result<Option<Self>> {
        let image = match Kind::of(&manifest.config.media_type) {
            Kind::Config => {
                let bytes = documents.document(&manifest.config).await?;
                crate::oci::Document::parse(&format!("content {}", manifest.config.digest), &bytes)?
            }
            // An artifact: its configuration is anything.
            _ => Image::default(),
        };
        // An image asked for by itself is taken as it is.
        let unnamed = depth > 0 && descriptor.platform.is_none() && !image.platform.os.is_empty();
        if unnamed && platforms.rank(&image.platform).is_none() {
            return Ok(None);
        }
        Ok(Some(Self { descriptor, manifest, image }))
    }

    /// The layers with their uncompressed digests, checked to be as many.
    pub fn layers(&self) -> Result<Vec<(Descriptor, Digest)>> {
        let layers: Vec<&Descriptor> =
            self.manifest.layers.iter().filter(|layer| Kind::of(&layer.media_type) == Kind::Layer).collect();
        let diff_ids = self.image.diff_ids()?;
        if layers.len() != diff_ids.len() {
            return Err(Error::invalid_argument(format!(
                "manifest {} has {} layers but its config names {} diff ids",
                self.descriptor.digest,
                layers.len(),
                diff_ids.len()
            )));
        }
        Ok(layers.into_iter().cloned().zip(diff_ids).collect())
    }

    /// The name of the snapshot that its unpacked layers make; `None` without layers.
    pub fn chain_id(&self) -> Result<Option<Digest>> {
        Ok(crate::oci::chain_ids(&self.image.diff_ids()?).pop())
    }
}

impl Client {
    /// The image below `target` that is nearest to `platforms`.
    pub async fn image_content(&self, target: &Descriptor, platforms: &Platforms) -> Result<ImageContent> {
        ImageContent::find(self, target, platforms).await
    }

    /// Every platform that `target` names, or that its configs do.
    pub async fn image_platforms(&self, target: &Descriptor) -> Result<Vec<Platform>> {
        let (mut platforms, mut configs) = (Vec::new(), Vec::new());
        let visit = |descriptor: &Descriptor, _: &[Descriptor]| {
            if Kind::of(&descriptor.media_type) == Kind::Config {
                configs.push(descriptor.clone());
            }
            Ok(())
        };
        let select = |mut children: Vec<Descriptor>| {
            // Those that name their platform need no look inside. Attestations are listed as unknown/unknown.
            platforms.extend(
                children
                    .iter()
                    .filter_map(|child| child.platform.as_ref())
                    .filter(|platform| platform.os != "unknown" && platform.architecture != "unknown")
                    .map(Platform::normalized),
            );
            children.retain(|child| child.platform.is_none());
            children
        };
        descend(self, target, select, visit).await?;
        for config in configs {
            let image: Image = self.read_document(&config).await?;
            platforms.push(image.platform.normalized());
        }
        Ok(platforms)
    }
}
