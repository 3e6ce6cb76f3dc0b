//! What of an archive is wanted: blobs with their labels, images to unpack, names.

use super::ImportOptions;
use crate::Client;
use crate::archive::{Archive, Layout, Place, Sources};
use crate::image::{ImageContent, Platforms, descend};
use crate::oci::{Descriptor, Kind};
use model::{Digest, Error, Labels, Result};
use std::collections::HashMap;

/// A blob that an image needs.
#[derive(Debug)]
pub(crate) struct Wanted {
    pub(crate) descriptor: Descriptor,
    /// Where it is; nowhere if it is in the store from before.
    pub(crate) place: Option<Place>,
    /// References to its children, for the garbage collector.
    pub(crate) labels: Labels,
}

/// Everything an import will do.
#[derive(Debug)]
pub(crate) struct Plan {
    /// In the order they should be stored: documents, then layers, the lowest first.
    pub(crate) blobs: Vec<Wanted>,
    pub(crate) unpack: Vec<ImageContent>,
    names: Vec<(String, Descriptor)>,
}

impl Plan {
    /// Looks at every document below the index.
    pub(crate) async fn new(
        client: &Client,
        archive: &Archive,
        layout: Layout,
        options: &ImportOptions,
    ) -> Result<Self> {
        let sources = Sources { store: client, archive, layout: &layout };
        let entries = matching(archive, &layout, &options.platforms)?;
        let mut plan = Self { blobs: Vec::new(), unpack: Vec::new(), names: Vec::new() };
        let mut wanted = HashMap::new();
        for entry in &entries {
            let names = options.naming.names(entry);
            plan.names.extend(names.iter().map(|name| (name.clone(), entry.clone())));
            plan.collect(&sources, entry, options, &mut wanted).await?;
            let unpack = options.unpacker.is_some() && (!names.is_empty() || options.index_name.is_some());
            if unpack && !plan.unpack.iter().any(|image| image.descriptor.digest == entry.digest) {
                plan.unpack.extend(plan.to_unpack(&sources, entry, options).await?);
            }
        }
        if let Some(name) = &options.index_name {
            let labels = gc_labels(&entries, false);
            let place = layout.place(archive, &layout.index.digest);
            plan.blobs.push(Wanted { descriptor: layout.index.clone(), place, labels });
            plan.names.insert(0, (name.clone(), layout.index.clone()));
        }
        // Layers last and in order, so that documents never wait behind them.
        plan.blobs.sort_by_key(|wanted| Kind::of(&wanted.descriptor.media_type) == Kind::Layer);
        Ok(plan)
    }

    /// The names to create, with what they point to.
    pub(crate) fn names(self) -> Vec<(String, Descriptor)> {
        self.names
    }

    /// Adds what is below `entry`, each blob once.
    async fn collect(
        &mut self,
        sources: &Sources<'_, Client>,
        entry: &Descriptor,
        options: &ImportOptions,
        seen: &mut HashMap<Digest, ()>,
    ) -> Result<()> {
        let blobs = &mut self.blobs;
        let select = |mut children: Vec<Descriptor>| {
            children.retain(|child| options.platforms.include(child));
            children
        };
        let visit = |descriptor: &Descriptor, children: &[Descriptor]| {
            if seen.insert(descriptor.digest.clone(), ()).is_none() {
                let place = sources.layout.place(sources.archive, &descriptor.digest);
                check_size(sources.archive, descriptor, place.as_ref())?;
                let labels = gc_labels(children, options.discard_layers);
                blobs.push(Wanted { descriptor: descriptor.clone(), place, labels });
            }
            Ok(())
        };
        descend(sources, entry, select, visit).await
    }

    /// The image below `entry` that gets unpacked. That none is for this machine is no error: it was asked to be
    /// imported all the same.
    async fn to_unpack(
        &self,
        sources: &Sources<'_, Client>,
        entry: &Descriptor,
        options: &ImportOptions,
    ) -> Result<Option<ImageContent>> {
        let host = Platforms::host();
        let platforms = if options.platforms == Platforms::All { &host } else { &options.platforms };
        let image = match ImageContent::find(sources, entry, platforms).await {
            Err(error) if error.is_not_found() && options.platforms == Platforms::All => return Ok(None),
            image => image?,
        };
        // Artifacts and attestations have no root filesystem.
        let is_image = Kind::of(&image.manifest.config.media_type) == Kind::Config;
        let foreign = !image.image.platform.os.is_empty() && platforms.rank(&image.image.platform).is_none();
        Ok(Some(image).filter(|_| is_image && !foreign))
    }
}

/// The entries of the index for the platforms wanted.
fn matching(archive: &Archive, layout: &Layout, platforms: &Platforms) -> Result<Vec<Descriptor>> {
    let entries: Vec<Descriptor> = layout.entries.iter().filter(|entry| platforms.include(entry)).cloned().collect();
    if !entries.is_empty() {
        return Ok(entries);
    }
    let mut there: Vec<String> =
        layout.entries.iter().filter_map(|entry| entry.platform.as_ref()).map(ToString::to_string).collect();
    there.sort();
    there.dedup();
    let there = if there.is_empty() { "no image at all".to_owned() } else { there.join(", ") };
    Err(Error::not_found(format!(
        "{} has no image for {platforms}: it has {there} (choose with --platform or --all-platforms)",
        archive.what
    )))
}

/// A blob of another size than promised would be found out after it was sent.
fn check_size(archive: &Archive, descriptor: &Descriptor, place: Option<&Place>) -> Result<()> {
    match place {
        Some(place) if place.size() != descriptor.size => Err(Error::failed_precondition(format!(
            "content {} has {} bytes in {} instead of {}",
            descriptor.digest,
            place.size(),
            archive.what,
            descriptor.size
        ))),
        _ => Ok(()),
    }
}

/// The labels by which a parent keeps its children (containerd's `ChildGCLabels`).
pub fn gc_labels(children: &[Descriptor], without_layers: bool) -> Labels {
    let mut labels = Labels::new();
    let mut count = HashMap::<&str, usize>::new();
    for child in children {
        let kind = Kind::of(&child.media_type);
        if without_layers && kind == Kind::Layer {
            continue;
        }
        let prefix = kind.gc_label();
        let index = count.entry(prefix).or_default();
        let key = if *index > 0 || prefix.ends_with('.') { format!("{prefix}{index}") } else { prefix.to_owned() };
        *index += 1;
        labels.insert(key, child.digest.to_string());
    }
    labels
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::{media_types, sha256};

    #[test]
    fn children_are_labelled_by_their_role() {
        let child = |media_type: &str, content: &[u8]| Descriptor {
            media_type: media_type.into(),
            digest: sha256(content),
            ..Descriptor::default()
        };
        let children = [
            child(media_types::CONFIG, b"c"),
            child(media_types::LAYER_GZIP, b"0"),
            child(media_types::LAYER_GZIP, b"1"),
        ];
        let labels = gc_labels(&children, false);
        let keys: Vec<&str> = labels.keys().map(String::as_str).collect();
        let prefix = "containerd.io/gc.ref.content";
        assert_eq!(keys, [format!("{prefix}.config"), format!("{prefix}.l.0"), format!("{prefix}.l.1")]);
        assert_eq!(gc_labels(&children, true).len(), 1);
    }
}
