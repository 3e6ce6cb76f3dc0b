//! One image of an index: the one for a platform.

use super::walk::{Listing, Walk, descend};
use crate::oci::{Descriptor, Image, Kind, Manifest, Platform};
use crate::{Client, Documents};
use model::{Digest, Error, Result};
use std::cmp::Reverse;

/// Which platforms count. As with containerd, what is carried about by name of its platform (fetched, pushed, exported,
/// converted) is for exactly that one; what is unpacked, mounted or run is the nearest that the machine can run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Platforms {
    /// All of them.
    All,
    /// What a machine of this platform runs, the nearest first.
    RunnableOn(Platform),
    /// These alone, the first first.
    Only(Vec<Platform>),
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

    /// Exactly `platforms`; all of them if there are none.
    pub fn exactly(platforms: Vec<Platform>) -> Self {
        if platforms.is_empty() { Self::All } else { Self::Only(platforms) }
    }

    /// What a machine of the platform `text` runs, or this machine.
    pub fn parse_or_host(text: Option<&str>) -> Result<Self> {
        text.filter(|text| !text.is_empty())
            .map_or_else(|| Ok(Self::host()), |text| Platform::parse(text).map(Self::RunnableOn))
    }

    /// How near `platform` is, 0 being best; `None` if it does not count.
    pub fn rank(&self, platform: &Platform) -> Option<usize> {
        match self {
            Self::All => Some(0),
            Self::RunnableOn(host) => host.rank(platform),
            Self::Only(wanted) => wanted.iter().position(|wanted| wanted.equals(platform)),
        }
    }

    /// The entries of an index that count, the nearest first, of two as near the one that uses more of the operating
    /// system's features, those that name no platform last.
    pub(crate) fn sort(&self, mut children: Vec<Descriptor>) -> Vec<Descriptor> {
        children.retain(|child| self.include(child));
        let order = |platform: &Platform| Some((self.rank(platform)?, Reverse(platform.os_features.len())));
        children.sort_by_key(|child| child.platform.as_ref().and_then(order).unwrap_or((usize::MAX, Reverse(0))));
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
            Self::RunnableOn(platform) => write!(out, "platform {platform}"),
            Self::Only(platforms) => {
                let names: Vec<String> = platforms.iter().map(ToString::to_string).collect();
                write!(out, "platform {}", names.join(" or "))
            }
        }
    }
}

impl ImageContent {
    /// Finds the image below `target` that is nearest to `platforms`.
    pub async fn find(documents: &impl Documents, target: &Descriptor, platforms: &Platforms) -> Result<Self> {
        let (descriptor, manifest) = find_manifest(documents, target, platforms).await?;
        let image = config(documents, &manifest).await?;
        Ok(Self { descriptor, manifest, image })
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

/// Finds the manifest below `target` that is nearest to `platforms`, whether its configuration is there or not.
async fn find_manifest(
    documents: &impl Documents,
    target: &Descriptor,
    platforms: &Platforms,
) -> Result<(Descriptor, Manifest)> {
    let mut walk = Walk::from(target);
    while let Some((descriptor, depth)) = walk.next()? {
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
                // One that an index lists without its platform is for that of its configuration; an image asked for by
                // itself is taken as it is.
                let unnamed = depth > 0 && descriptor.platform.is_none();
                if !unnamed || counts(&config(documents, &manifest).await?, platforms) {
                    return Ok((descriptor, manifest));
                }
            }
            Some(Listing::Index(index)) => {
                walk.enter(platforms.sort(index.manifests), depth);
            }
            None => {}
        }
    }
    Err(Error::not_found(format!("no match for {platforms} in manifest {}", target.digest)))
}

/// Whether an image counts by the platform that its configuration names; one that names none does.
fn counts(image: &Image, platforms: &Platforms) -> bool {
    image.platform.os.is_empty() || platforms.rank(&image.platform).is_some()
}

/// The configuration of an image; that of an artifact may be anything, and is not looked at.
async fn config(documents: &impl Documents, manifest: &Manifest) -> Result<Image> {
    match Kind::of(&manifest.config.media_type) {
        Kind::Config => {
            let bytes = documents.document(&manifest.config).await?;
            crate::oci::Document::parse(&format!("content {}", manifest.config.digest), &bytes)
        }
        _ => Ok(Image::default()),
    }
}

impl Client {
    /// The manifest below `target` that is nearest to `platforms`, with its descriptor.
    pub async fn image_manifest(&self, target: &Descriptor, platforms: &Platforms) -> Result<(Descriptor, Manifest)> {
        find_manifest(self, target, platforms).await
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_named_is_exact_and_what_runs_is_near() {
        let platform = |text: &str| Platform::parse(text).unwrap();
        let (amd64, i386) = (platform("linux/amd64"), platform("linux/386"));
        assert!(Platforms::RunnableOn(amd64.clone()).rank(&i386).is_some());
        let only = Platforms::exactly(vec![amd64.clone()]);
        assert_eq!((only.rank(&amd64), only.rank(&i386)), (Some(0), None));
        // As they are named, not as they run.
        let both = Platforms::exactly(vec![i386.clone(), Platform::new("linux", "x86_64", "")]);
        assert_eq!((both.rank(&i386), both.rank(&amd64)), (Some(0), Some(1)));
        assert_eq!(both.rank(&platform("linux/arm64")), None);
        assert_eq!(Platforms::exactly(Vec::new()), Platforms::All);
        assert_eq!(both.to_string(), "platform linux/386 or linux/x86_64");
    }
}
