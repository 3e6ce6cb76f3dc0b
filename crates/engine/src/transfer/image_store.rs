//! The store as an end of a transfer: which content counts, and which names are written.

use client::oci::{Descriptor, Kind, Platform};
use model::{Error, FieldMask, Image, Labels, Result, Scope, Timestamp};
use std::cmp::Reverse;
use store::Store;

/// In an index's entry, as long as an import is under way: its names come from its own annotations.
pub(crate) const REF_SOURCE: &str = "io.containerd.import.ref-source";
/// The full name of an image, in an index's entry.
const IMAGE_NAME: &str = "io.containerd.image.name";
/// The image spec's name in an index's entry, often only a tag.
const REF_NAME: &str = "org.opencontainers.image.ref.name";

/// Images of the store, as containerd's `ImageStore` describes them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ImageStore {
    /// The image's name; may be empty if there are `references`.
    pub name: String,
    /// Labels of new records.
    pub labels: Labels,
    /// Which platforms count, the best first; none: all.
    pub platforms: Vec<Platform>,
    /// Whether manifests and configs of other platforms count nevertheless.
    pub all_metadata: bool,
    /// Most manifests taken from an index, the best first; 0: no limit.
    pub manifest_limit: usize,
    /// Further names.
    pub references: Vec<Reference>,
    /// What is unpacked where; none: nothing.
    pub unpacks: Vec<Unpack>,
}

/// A further name, or a rule for names.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Reference {
    /// The name, or what it begins with.
    pub name: String,
    /// Whether `name` lacks its tag or digest.
    pub is_prefix: bool,
    /// For a prefix: take the full name in the annotations, though it begins otherwise.
    pub allow_overwrite: bool,
    /// For a prefix: also name the image by its digest.
    pub add_digest: bool,
    /// For a prefix: that only if it has no other name.
    pub skip_named_digest: bool,
}

/// A wish to unpack.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Unpack {
    /// Images for this platform.
    pub platform: Platform,
    /// Into this snapshotter; empty: the default one.
    pub snapshotter: String,
}

impl ImageStore {
    /// What containerd's errors and events call it.
    pub fn what(&self) -> String {
        format!("Local Image Store ({})", self.name)
    }

    /// Which children of `parent` belong to the transfer, in the order to take them.
    ///
    /// # Errors
    /// `NotFound` if none of an index does, but some must.
    pub fn select(&self, parent: &Descriptor, mut children: Vec<Descriptor>) -> Result<Vec<Descriptor>> {
        let kind = Kind::of(&parent.media_type);
        if !self.all_metadata {
            children.retain(|child| child.platform.as_ref().is_none_or(|platform| self.wants(platform)));
        } else if kind == Kind::Manifest && parent.platform.as_ref().is_some_and(|platform| !self.wants(platform)) {
            children.retain(|child| Kind::of(&child.media_type) == Kind::Config);
        }
        if kind == Kind::Index && self.manifest_limit > 0 {
            if children.is_empty() {
                return Err(Error::not_found(format!("no match for platform in manifest {}", parent.digest)));
            }
            // Best first; of equals the order of the index counts, and those without a platform come last.
            let order = |platform: &Platform| (self.rank(platform), Reverse(platform.os_features.len()));
            children.sort_by_key(|child| child.platform.as_ref().map_or((usize::MAX, Reverse(0)), order));
            children.truncate(self.manifest_limit);
        }
        Ok(children)
    }

    /// Whether `platform` is one of those that count.
    pub fn wants(&self, platform: &Platform) -> bool {
        self.platforms.is_empty() || self.rank(platform) < self.platforms.len()
    }

    fn rank(&self, platform: &Platform) -> usize {
        let fits = |wanted: &Platform| wanted.normalized().equals(platform);
        self.platforms.iter().position(fits).unwrap_or(self.platforms.len())
    }

    /// The records for `target`: its names, with labels. None if it has no name.
    ///
    /// # Errors
    /// `InvalidArgument` for an unknown source of names.
    pub fn records(&self, target: &Descriptor) -> Result<Vec<(String, Labels)>> {
        let Some(source) = target.annotations.get(REF_SOURCE) else { return Ok(self.own_names(target)) };
        if source != "annotation" {
            return Err(Error::invalid_argument(format!("ref source {source:?} not supported")));
        }
        let prefixes = self.references.iter().filter(|reference| reference.is_prefix);
        let names = prefixes.flat_map(|reference| reference.annotated_names(target));
        Ok(names.map(|name| (name, self.extra_labels())).collect())
    }

    fn own_names(&self, target: &Descriptor) -> Vec<(String, Labels)> {
        let first = (!self.name.is_empty()).then(|| (self.name.clone(), self.labels.clone()));
        // A prefix by itself is no name.
        let more = self.references.iter().filter(|reference| !reference.is_prefix || reference.add_digest);
        let more = more.map(|reference| {
            let name = if reference.add_digest { reference.with_digest(target) } else { reference.name.clone() };
            (name, self.extra_labels())
        });
        first.into_iter().chain(more).collect()
    }

    /// Beside a first name, further ones live only as long as that.
    fn extra_labels(&self) -> Labels {
        let mut labels = self.labels.clone();
        if !self.name.is_empty() {
            labels.insert("containerd.io/gc.bref.image".to_owned(), self.name.clone());
            let now = Timestamp { nanos: 0, ..Timestamp::now() };
            labels.insert("containerd.io/gc.expire".to_owned(), now.to_rfc3339());
        }
        labels
    }

    /// Writes the records for `target` and returns them. Blocks on the disk.
    ///
    /// # Errors
    /// `NotFound` if `target` has no name, else the store's.
    pub fn save(&self, store: &Store, scope: &Scope, target: &Descriptor) -> Result<Vec<Image>> {
        let records = self.records(target)?;
        if records.is_empty() {
            return Err(Error::not_found(format!("no image name found for {}", target.digest)));
        }
        let mut annotations = target.annotations.clone();
        annotations.remove(REF_SOURCE);
        let save = |(name, labels)| {
            let target = model::Descriptor {
                media_type: target.media_type.clone(),
                digest: target.digest.clone(),
                size: target.size,
                annotations: annotations.clone(),
            };
            let (created_at, updated_at) = (Timestamp::now(), Timestamp::now());
            create_or_update(store, scope, &Image { name, labels, target, created_at, updated_at })
        };
        records.into_iter().map(save).collect()
    }
}

impl Reference {
    fn with_digest(&self, target: &Descriptor) -> String {
        format!("{}@{}", self.name, target.digest)
    }

    /// The names that a prefix gives to an annotated entry of an index.
    fn annotated_names(&self, target: &Descriptor) -> Vec<String> {
        let Some(name) = self.annotated_name(target) else {
            return if self.add_digest { vec![self.with_digest(target)] } else { Vec::new() };
        };
        let digest = (self.add_digest && !self.skip_named_digest).then(|| self.with_digest(target));
        std::iter::once(name).chain(digest).collect()
    }

    fn annotated_name(&self, target: &Descriptor) -> Option<String> {
        let annotation = |key| target.annotations.get(key).filter(|name| !name.is_empty());
        match annotation(IMAGE_NAME) {
            // A full name is taken whole or not at all.
            Some(name) => self.complete(name).filter(|complete| complete == name),
            None => self.complete(annotation(REF_NAME)?),
        }
    }

    /// A lone tag completed by the prefix; a full name if it has the prefix, or need not.
    fn complete(&self, name: &str) -> Option<String> {
        if self.name.is_empty() {
            return None;
        }
        if !name.contains(['/', ':', '@']) {
            return Some(format!("{}:{name}", self.name));
        }
        let rest = name.strip_prefix(&self.name);
        let prefixed = rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '@']));
        (self.allow_overwrite || prefixed).then(|| name.to_owned())
    }
}

/// A record is written over if it exists; one that goes meanwhile is created again.
fn create_or_update(store: &Store, scope: &Scope, image: &Image) -> Result<Image> {
    loop {
        match store.create_image(scope, image.clone(), None) {
            Err(error) if error.is_already_exists() => {}
            done => return done,
        }
        match store.update_image(scope, image.clone(), &FieldMask::default(), None) {
            Err(error) if error.is_not_found() => {}
            done => return done,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use client::oci::media_types;

    fn entry(annotations: &[(&str, &str)]) -> Descriptor {
        let annotations = annotations.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Descriptor { media_type: media_types::MANIFEST.to_owned(), annotations, ..Descriptor::default() }
    }

    fn prefix(name: &str) -> Reference {
        Reference { name: name.to_owned(), is_prefix: true, ..Reference::default() }
    }

    fn names(store: &ImageStore, target: &Descriptor) -> Vec<String> {
        store.records(target).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    #[test]
    fn entries_are_named_by_their_annotations() {
        let full = entry(&[(REF_SOURCE, "annotation"), (IMAGE_NAME, "reg/a:1"), (REF_NAME, "1")]);
        let tag = entry(&[(REF_SOURCE, "annotation"), (REF_NAME, "v1")]);
        let none = entry(&[(REF_SOURCE, "annotation")]);
        let store = |reference| ImageStore { references: vec![reference], ..ImageStore::default() };
        let overwrite = |name| Reference { allow_overwrite: true, ..prefix(name) };
        assert_eq!(names(&store(prefix("reg/a")), &full), ["reg/a:1"]);
        assert!(names(&store(prefix("re")), &full).is_empty());
        assert_eq!(names(&store(overwrite("other")), &full), ["reg/a:1"]);
        assert_eq!(names(&store(prefix("other")), &tag), ["other:v1"]);
        assert!(names(&store(prefix("other")), &none).is_empty());
        let digest = |skip_named_digest| Reference { add_digest: true, skip_named_digest, ..prefix("other") };
        let by_digest = format!("other@{}", tag.digest);
        assert_eq!(names(&store(digest(false)), &tag), ["other:v1", &by_digest]);
        assert_eq!(names(&store(digest(true)), &tag), ["other:v1"]);
        assert_eq!(names(&store(digest(true)), &none), [by_digest]);
        let unknown = entry(&[(REF_SOURCE, "guess")]);
        assert!(store(prefix("other")).records(&unknown).is_err());
    }

    #[test]
    fn further_names_live_as_long_as_the_first() {
        let more = Reference { name: "b".to_owned(), ..Reference::default() };
        let store = ImageStore { name: "a".to_owned(), references: vec![prefix("c"), more], ..ImageStore::default() };
        let records = store.records(&entry(&[])).unwrap();
        let names: Vec<&str> = records.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["a", "b"]);
        assert!(records[0].1.is_empty());
        assert_eq!(records[1].1.get("containerd.io/gc.bref.image").map(String::as_str), Some("a"));
    }

    #[test]
    fn children_are_selected_by_platform() {
        let index = Descriptor { media_type: media_types::INDEX.to_owned(), ..Descriptor::default() };
        let child = |platform: Option<&str>| Descriptor {
            platform: platform.map(|platform| Platform::parse(platform).unwrap()),
            ..entry(&[])
        };
        let all = vec![child(None), child(Some("linux/arm64")), child(Some("linux/amd64"))];
        let platforms = |children: &[Descriptor]| -> Vec<String> {
            children.iter().map(|child| child.platform.as_ref().map(ToString::to_string).unwrap_or_default()).collect()
        };
        let mut store = ImageStore::default();
        assert_eq!(store.select(&index, all.clone()).unwrap(), all);
        store.platforms = vec![Platform::parse("linux/amd64").unwrap(), Platform::parse("linux/arm64").unwrap()];
        store.manifest_limit = 2;
        assert_eq!(platforms(&store.select(&index, all.clone()).unwrap()), ["linux/amd64", "linux/arm64"]);
        store.platforms.truncate(1);
        assert_eq!(platforms(&store.select(&index, all.clone()).unwrap()), ["linux/amd64", ""]);
        let only_other = vec![child(Some("linux/s390x"))];
        assert!(store.select(&index, only_other.clone()).unwrap_err().is_not_found());

        // With all metadata the other platform's manifest is taken, but of its children only the config.
        store = ImageStore { all_metadata: true, manifest_limit: 0, ..store };
        assert_eq!(store.select(&index, only_other.clone()).unwrap(), only_other);
        let part = |media_type: &str| Descriptor { media_type: media_type.to_owned(), ..Descriptor::default() };
        let parts = vec![part(media_types::CONFIG), part(media_types::LAYER_GZIP)];
        assert_eq!(store.select(&only_other[0], parts.clone()).unwrap(), parts[..1]);
    }
}
