//! What each record offers to a filter (containerd's `core/metadata/adaptors.go` and its like).

use super::Adaptor;
use crate::{BlobInfo, Container, Envelope, Image, IngestStatus, Labels, Lease, Sandbox, SnapshotInfo, SnapshotKind};
use std::borrow::Cow;
use std::collections::BTreeMap;

type Field<'a> = Option<Cow<'a, str>>;

fn present(text: &str) -> Field<'_> {
    (!text.is_empty()).then_some(Cow::Borrowed(text))
}

fn entry<'a>(map: &'a BTreeMap<String, String>, path: &[String]) -> Field<'a> {
    map.get(&path.join(".")).map(|value| Cow::Borrowed(value.as_str()))
}

/// Labels alone, for records that are being read and whose other fields do not matter.
impl Adaptor for Labels {
    fn field(&self, path: &[String]) -> Field<'_> {
        match path.split_first() {
            Some((first, rest)) if first == "labels" => entry(self, rest),
            _ => None,
        }
    }
}

impl Adaptor for Image {
    fn field(&self, path: &[String]) -> Field<'_> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "name" => present(&self.name),
            "target" => match rest.first()?.as_str() {
                "digest" => Some(Cow::Borrowed(self.target.digest.as_str())),
                "mediatype" => present(&self.target.media_type),
                _ => None,
            },
            "labels" => entry(&self.labels, rest),
            "annotations" => entry(&self.target.annotations, rest),
            _ => None,
        }
    }
}

impl Adaptor for Container {
    fn field(&self, path: &[String]) -> Field<'_> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "id" => present(&self.id),
            "runtime" if rest.first().is_some_and(|field| field == "name") => present(&self.runtime.name),
            "image" => present(&self.image),
            "labels" => entry(&self.labels, rest),
            _ => None,
        }
    }
}

impl Adaptor for BlobInfo {
    fn field(&self, path: &[String]) -> Field<'_> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "digest" => Some(Cow::Borrowed(self.digest.as_str())),
            "labels" => entry(&self.labels, rest),
            _ => None,
        }
    }
}

impl Adaptor for IngestStatus {
    fn field(&self, path: &[String]) -> Field<'_> {
        (path.first()? == "ref").then_some(Cow::Borrowed(self.reference.as_str()))
    }
}

impl Adaptor for Lease {
    fn field(&self, path: &[String]) -> Field<'_> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "id" => present(&self.id),
            "labels" => entry(&self.labels, rest),
            _ => None,
        }
    }
}

impl Adaptor for SnapshotInfo {
    fn field(&self, path: &[String]) -> Field<'_> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "kind" => Some(Cow::Borrowed(match self.kind {
                SnapshotKind::Active => "active",
                SnapshotKind::View => "view",
                SnapshotKind::Committed => "committed",
            })),
            "name" => Some(Cow::Borrowed(self.name.as_str())),
            "parent" => Some(Cow::Borrowed(self.parent.as_str())),
            "labels" => entry(&self.labels, rest),
            _ => None,
        }
    }
}

impl Adaptor for Sandbox {
    fn field(&self, path: &[String]) -> Field<'_> {
        let (first, rest) = path.split_first()?;
        match first.as_str() {
            "id" => Some(Cow::Borrowed(self.id.as_str())),
            "labels" => entry(&self.labels, rest),
            _ => None,
        }
    }
}

/// `namespace` and `topic`; `event.<field>` needs the message decoded, which is the wire's business:
/// see [`crate::Event::field`].
impl Adaptor for Envelope {
    fn field(&self, path: &[String]) -> Field<'_> {
        match path.first()?.as_str() {
            "namespace" => Some(Cow::Borrowed(self.namespace.as_str())),
            "topic" => present(&self.topic),
            _ => None,
        }
    }
}
