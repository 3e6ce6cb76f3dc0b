//! containerd's gRPC API: one file for each service.
//!
//! Wire types stop here: a service converts a request to model, calls the store or the
//! engine, and converts the answer back.

mod authority;
mod containers;
mod content;
mod content_write;
mod diff;
mod events;
mod images;
mod introspection;
mod leases;
mod namespaces;
mod reply;
mod router;
mod scope;
mod sent;
mod server;
mod snapshots;
mod streaming;
mod tasks;
mod transfer;
mod version;

pub(crate) use router::Router;
pub(crate) use server::serve;

use crate::plugins::Plugin;
use engine::{Engine, transfer::Transfers};
use proto::api::containerd::services as api;
use std::sync::Arc;
use store::{Store, layers::StreamProcessor};
use tonic_reflection::server::Builder as Reflection;

/// What the services are made of.
#[derive(Debug)]
pub(crate) struct Backends {
    pub(crate) store: Store,
    pub(crate) engine: Engine,
    pub(crate) transfers: Transfers,
    pub(crate) plugins: Vec<Plugin>,
    pub(crate) uuid: String,
    pub(crate) processors: Arc<[StreamProcessor]>,
    pub(crate) sync_fs: bool,
    /// Largest request and largest answer, in bytes.
    pub(crate) limits: (usize, usize),
}

/// Every service, ready to serve.
pub(crate) fn router(backends: Backends) -> Router {
    let Backends { store, engine, transfers, plugins, uuid, processors, sync_fs, limits: (recv, send) } = backends;
    macro_rules! limited {
        ($server:ty, $handler:expr) => {
            <$server>::new($handler).max_decoding_message_size(recv).max_encoding_message_size(send)
        };
    }
    let events = events::Events(Arc::clone(engine.exchange()));
    let diff = diff::Diff { store: store.clone(), processors, sync_fs };
    let introspection = introspection::Introspection { plugins, uuid, engine: engine.clone() };
    let streams = streaming::Registry::default();
    let transfer = transfer::Transfer { transfers, streams: streams.clone() };
    let streaming = streaming::Streams { registry: streams, store: store.clone() };
    let (_, health) = tonic_health::server::health_reporter();
    router::Builder::default()
        .add(limited!(
            api::containers::v1::containers_server::ContainersServer<_>,
            containers::Containers(store.clone())
        ))
        .add(limited!(api::content::v1::content_server::ContentServer<_>, content::Content(store.clone())))
        .add(limited!(api::diff::v1::diff_server::DiffServer<_>, diff))
        .add(limited!(api::events::v1::events_server::EventsServer<_>, events))
        .add(limited!(api::images::v1::images_server::ImagesServer<_>, images::Images(store.clone())))
        .add(limited!(api::introspection::v1::introspection_server::IntrospectionServer<_>, introspection))
        .add(limited!(api::leases::v1::leases_server::LeasesServer<_>, leases::Leases(store.clone())))
        .add(limited!(
            api::namespaces::v1::namespaces_server::NamespacesServer<_>,
            namespaces::Namespaces(store.clone())
        ))
        .add(limited!(api::snapshots::v1::snapshots_server::SnapshotsServer<_>, snapshots::Snapshots(store)))
        .add(limited!(api::streaming::v1::streaming_server::StreamingServer<_>, streaming))
        .add(limited!(api::tasks::v1::tasks_server::TasksServer<_>, tasks::Tasks(engine)))
        .add(limited!(api::transfer::v1::transfer_server::TransferServer<_>, transfer))
        .add(limited!(api::version::v1::version_server::VersionServer<_>, version::Version))
        .add(health)
        .add_on_demand(|| descriptors().build_v1().unwrap_or_else(|error| unreachable!("our own descriptors: {error}")))
        .add_on_demand(|| {
            descriptors().build_v1alpha().unwrap_or_else(|error| unreachable!("our own descriptors: {error}"))
        })
        .build()
}

/// Everything we serve, for gRPC reflection.
fn descriptors() -> Reflection<'static> {
    Reflection::configure()
        .register_encoded_file_descriptor_set(proto::API_DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
}
