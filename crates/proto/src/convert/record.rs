//! Records: images, containers, leases, content, snapshots, and what they hold.

use super::{any_from_wire, any_to_wire, map, size_from_wire, size_to_wire, timestamp_from_wire, timestamp_to_wire};
use crate::api::containerd::{
    services::{
        containers::v1::{Container, container},
        content::v1::{Info as ContentInfo, Status as ContentStatus},
        images::v1::Image,
        leases::v1::{Lease, Resource},
        snapshots::v1::{Info as SnapshotInfo, Kind as SnapshotKind, UsageResponse},
    },
    types::{Descriptor, Mount},
};
use model::{Digest, Error, Result};

impl From<model::Mount> for Mount {
    fn from(mount: model::Mount) -> Self {
        Self { r#type: mount.fs_type, source: mount.source, target: mount.target, options: mount.options }
    }
}

impl From<Mount> for model::Mount {
    fn from(mount: Mount) -> Self {
        Self { fs_type: mount.r#type, source: mount.source, target: mount.target, options: mount.options }
    }
}

impl From<model::Descriptor> for Descriptor {
    fn from(descriptor: model::Descriptor) -> Self {
        Self {
            media_type: descriptor.media_type,
            digest: descriptor.digest.to_string(),
            size: size_to_wire(descriptor.size),
            annotations: descriptor.annotations,
        }
    }
}

impl TryFrom<Descriptor> for model::Descriptor {
    type Error = Error;

    fn try_from(descriptor: Descriptor) -> Result<Self> {
        let size = u64::try_from(descriptor.size)
            .map_err(|_| Error::invalid_argument(format!("descriptor size {} is negative", descriptor.size)))?;
        Ok(Self {
            media_type: descriptor.media_type,
            digest: descriptor.digest.parse()?,
            size,
            annotations: descriptor.annotations,
        })
    }
}

impl From<model::Image> for Image {
    fn from(image: model::Image) -> Self {
        Self {
            name: image.name,
            labels: image.labels,
            target: Some(image.target.into()),
            created_at: Some(timestamp_to_wire(image.created_at)),
            updated_at: Some(timestamp_to_wire(image.updated_at)),
        }
    }
}

impl TryFrom<Image> for model::Image {
    type Error = Error;

    fn try_from(image: Image) -> Result<Self> {
        let target = image
            .target
            .ok_or_else(|| Error::invalid_argument(format!("image {:?}: target is missing", image.name)))?;
        let target = target.try_into().map_err(|error: Error| error.context(format!("image {:?}", image.name)))?;
        Ok(Self {
            name: image.name,
            labels: image.labels,
            target,
            created_at: timestamp_from_wire(image.created_at),
            updated_at: timestamp_from_wire(image.updated_at),
        })
    }
}

impl From<model::Container> for Container {
    fn from(container: model::Container) -> Self {
        Self {
            id: container.id,
            labels: container.labels,
            image: container.image,
            runtime: Some(container::Runtime {
                name: container.runtime.name,
                options: container.runtime.options.map(any_to_wire),
            }),
            spec: container.spec.map(any_to_wire),
            snapshotter: container.snapshotter,
            snapshot_key: container.snapshot_key,
            created_at: Some(timestamp_to_wire(container.created_at)),
            updated_at: Some(timestamp_to_wire(container.updated_at)),
            extensions: map(container.extensions, any_to_wire),
            sandbox: container.sandbox,
        }
    }
}

impl From<Container> for model::Container {
    fn from(container: Container) -> Self {
        let runtime = container.runtime.unwrap_or_default();
        Self {
            id: container.id,
            labels: container.labels,
            image: container.image,
            runtime: model::Runtime { name: runtime.name, options: runtime.options.map(any_from_wire) },
            spec: container.spec.map(any_from_wire),
            snapshotter: container.snapshotter,
            snapshot_key: container.snapshot_key,
            created_at: timestamp_from_wire(container.created_at),
            updated_at: timestamp_from_wire(container.updated_at),
            extensions: map(container.extensions, any_from_wire),
            sandbox: container.sandbox,
        }
    }
}

impl From<model::Lease> for Lease {
    fn from(lease: model::Lease) -> Self {
        Self { id: lease.id, created_at: Some(timestamp_to_wire(lease.created_at)), labels: lease.labels }
    }
}

impl From<Lease> for model::Lease {
    fn from(lease: Lease) -> Self {
        Self { id: lease.id, created_at: timestamp_from_wire(lease.created_at), labels: lease.labels }
    }
}

impl From<&model::Resource> for Resource {
    fn from(resource: &model::Resource) -> Self {
        Self { id: resource.id().to_owned(), r#type: resource.kind() }
    }
}

impl TryFrom<Resource> for model::Resource {
    type Error = Error;

    fn try_from(resource: Resource) -> Result<Self> {
        Self::parse(&resource.r#type, &resource.id)
    }
}

impl From<model::BlobInfo> for ContentInfo {
    fn from(info: model::BlobInfo) -> Self {
        Self {
            digest: info.digest.to_string(),
            size: size_to_wire(info.size),
            created_at: Some(timestamp_to_wire(info.created_at)),
            updated_at: Some(timestamp_to_wire(info.updated_at)),
            labels: info.labels,
        }
    }
}

impl TryFrom<ContentInfo> for model::BlobInfo {
    type Error = Error;

    fn try_from(info: ContentInfo) -> Result<Self> {
        Ok(Self {
            digest: info.digest.parse()?,
            size: size_from_wire(info.size),
            created_at: timestamp_from_wire(info.created_at),
            updated_at: timestamp_from_wire(info.updated_at),
            labels: info.labels,
        })
    }
}

impl From<model::IngestStatus> for ContentStatus {
    fn from(status: model::IngestStatus) -> Self {
        Self {
            started_at: Some(timestamp_to_wire(status.started_at)),
            updated_at: Some(timestamp_to_wire(status.updated_at)),
            r#ref: status.reference,
            offset: size_to_wire(status.offset),
            total: size_to_wire(status.total),
            expected: status.expected.map_or_else(String::new, |digest| digest.to_string()),
        }
    }
}

impl TryFrom<ContentStatus> for model::IngestStatus {
    type Error = Error;

    fn try_from(status: ContentStatus) -> Result<Self> {
        let expected = Some(status.expected).filter(|digest| !digest.is_empty());
        Ok(Self {
            reference: status.r#ref,
            offset: size_from_wire(status.offset),
            total: size_from_wire(status.total),
            expected: expected.map(|digest| digest.parse::<Digest>()).transpose()?,
            started_at: timestamp_from_wire(status.started_at),
            updated_at: timestamp_from_wire(status.updated_at),
        })
    }
}

impl From<model::SnapshotInfo> for SnapshotInfo {
    fn from(info: model::SnapshotInfo) -> Self {
        let kind = match info.kind {
            model::SnapshotKind::View => SnapshotKind::View,
            model::SnapshotKind::Active => SnapshotKind::Active,
            model::SnapshotKind::Committed => SnapshotKind::Committed,
        };
        Self {
            name: info.name,
            parent: info.parent,
            kind: kind.into(),
            created_at: Some(timestamp_to_wire(info.created_at)),
            updated_at: Some(timestamp_to_wire(info.updated_at)),
            labels: info.labels,
        }
    }
}

impl TryFrom<SnapshotInfo> for model::SnapshotInfo {
    type Error = Error;

    fn try_from(info: SnapshotInfo) -> Result<Self> {
        let kind = match info.kind() {
            SnapshotKind::View => model::SnapshotKind::View,
            SnapshotKind::Active => model::SnapshotKind::Active,
            SnapshotKind::Committed => model::SnapshotKind::Committed,
            SnapshotKind::Unknown => {
                return Err(Error::invalid_argument(format!("snapshot {:?}: unknown kind {}", info.name, info.kind)));
            }
        };
        Ok(Self {
            kind,
            name: info.name,
            parent: info.parent,
            labels: info.labels,
            created_at: timestamp_from_wire(info.created_at),
            updated_at: timestamp_from_wire(info.updated_at),
        })
    }
}

impl From<model::Usage> for UsageResponse {
    fn from(usage: model::Usage) -> Self {
        Self { size: size_to_wire(usage.size), inodes: size_to_wire(usage.inodes) }
    }
}

impl From<UsageResponse> for model::Usage {
    fn from(usage: UsageResponse) -> Self {
        Self { size: size_from_wire(usage.size), inodes: size_from_wire(usage.inodes) }
    }
}
