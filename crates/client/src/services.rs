//! The generated clients of every service, ready to call.

use crate::connect::{Client, Headers};
use proto::api::containerd::services::{
    containers::v1::containers_client::ContainersClient, content::v1::content_client::ContentClient,
    diff::v1::diff_client::DiffClient, events::v1::events_client::EventsClient,
    images::v1::images_client::ImagesClient, introspection::v1::introspection_client::IntrospectionClient,
    leases::v1::leases_client::LeasesClient, mounts::v1::mounts_client::MountsClient,
    namespaces::v1::namespaces_client::NamespacesClient, sandbox::v1::store_client::StoreClient,
    snapshots::v1::snapshots_client::SnapshotsClient, streaming::v1::streaming_client::StreamingClient,
    tasks::v1::tasks_client::TasksClient, transfer::v1::transfer_client::TransferClient,
    version::v1::version_client::VersionClient,
};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::Channel;

/// A channel that adds the namespace and lease headers.
pub type Service = InterceptedService<Channel, Headers>;

/// containerd's limit on a message, both ways (its `defaults` package).
const MAX_MESSAGE: usize = 16 << 20;

macro_rules! services {
    ($($(#[$doc:meta])* $name:ident: $client:ident),* $(,)?) => {
        impl Client {
            $(
                $(#[$doc])*
                pub fn $name(&self) -> $client<Service> {
                    $client::with_interceptor(self.channel.clone(), self.headers.clone())
                        .max_decoding_message_size(MAX_MESSAGE)
                        .max_encoding_message_size(MAX_MESSAGE)
                }
            )*
        }
    };
}

services! {
    /// Container records.
    containers: ContainersClient,
    /// Blobs and ingests.
    content: ContentClient,
    /// Applying and making layers.
    diffs: DiffClient,
    /// Publish and subscribe.
    events: EventsClient,
    /// Image records.
    images: ImagesClient,
    /// Plugins and the server itself.
    introspection: IntrospectionClient,
    /// Leases and what they hold.
    leases: LeasesClient,
    /// Mounts the daemon keeps active.
    mounts: MountsClient,
    /// Namespaces.
    namespaces: NamespacesClient,
    /// Sandbox records.
    sandboxes: StoreClient,
    /// Snapshots.
    snapshots: SnapshotsClient,
    /// Streams beside a transfer.
    streams: StreamingClient,
    /// Running containers.
    tasks: TasksClient,
    /// Images moved by the daemon.
    transfers: TransferClient,
    /// The daemon's version.
    version: VersionClient,
}
