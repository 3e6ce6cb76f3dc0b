//! The ends of a transfer, from their wire types.

use super::credentials::Callback;
use crate::grpc::streaming::{Registry as Streams, decode, receive_bytes, send_bytes, send_file};
use client::oci::Platform;
use distribution::{Anonymous, Credentials};
use engine::transfer::{
    Destination, ExportStream, HttpDebug, ImageStore, ImportStream, Reference, Registry, Source, Unpack,
};
use model::{Error, Result, Scope};
use proto::{
    Any,
    api::containerd::{
        services::transfer::v1::TransferRequest,
        types::{self, transfer as wire},
    },
};
use std::{path::PathBuf, sync::Arc};
use tokio::task::JoinSet;

/// Both ends of a transfer.
pub(super) struct Ends {
    pub(super) source: Source,
    pub(super) destination: Destination,
}

/// What serves the streams of a transfer; it ends with this.
#[derive(Debug, Default)]
pub(super) struct Tasks {
    /// Archives.
    pub(super) files: JoinSet<()>,
    /// What is told of requests.
    pub(super) logs: JoinSet<()>,
}

/// Either end.
enum End {
    Store(ImageStore),
    Registry(Registry),
    Import(ImportStream),
    Export(ExportStream),
}

impl Ends {
    /// Reads both ends and claims the streams that they name, which `tasks` serve.
    ///
    /// # Errors
    /// `Unimplemented` for types or a pair of types that nothing is known of, `NotFound` for a stream,
    /// `InvalidArgument` for a malformed message.
    pub(super) fn open(streams: &Streams, scope: &Scope, request: &TransferRequest, tasks: &mut Tasks) -> Result<Self> {
        let url = |any: &Option<Any>| any.as_ref().map(|any| any.type_url.clone()).unwrap_or_default();
        let refused = || {
            let (source, destination) = (url(&request.source), url(&request.destination));
            Error::unimplemented(format!("method Transfer not implemented for {source} to {destination}"))
        };
        let mut opener = Opener { streams, scope, tasks };
        let source = match opener.end(request.source.as_ref())?.ok_or_else(refused)? {
            End::Store(store) => Source::Store(store),
            End::Registry(registry) => Source::Registry(registry),
            End::Import(stream) => Source::Import(stream),
            End::Export(_) => return Err(refused()),
        };
        let destination = match opener.end(request.destination.as_ref())?.ok_or_else(refused)? {
            End::Store(store) => Destination::Store(store),
            End::Registry(registry) => Destination::Registry(registry),
            End::Export(stream) => Destination::Export(stream),
            End::Import(_) => return Err(refused()),
        };
        Ok(Self { source, destination })
    }
}

struct Opener<'a> {
    streams: &'a Streams,
    scope: &'a Scope,
    tasks: &'a mut Tasks,
}

impl Opener<'_> {
    /// The end that `any` describes, if its type is one.
    fn end(&mut self, any: Option<&Any>) -> Result<Option<End>> {
        let Some(any) = any else { return Ok(None) };
        if let Some(store) = decode(any)? {
            return Ok(Some(End::Store(image_store(store))));
        }
        if let Some(registry) = decode(any)? {
            return self.registry(registry).map(|registry| Some(End::Registry(registry)));
        }
        if let Some(stream) = decode(any)? {
            return self.import(stream).map(|stream| Some(End::Import(stream)));
        }
        decode(any)?.map(|stream| self.export(stream).map(End::Export)).transpose()
    }

    fn registry(&mut self, registry: wire::OciRegistry) -> Result<Registry> {
        let wire::OciRegistry { reference, resolver } = registry;
        let resolver = resolver.unwrap_or_default();
        let some = |text: String| (!text.is_empty()).then_some(text);
        let credentials: Arc<dyn Credentials> = match some(resolver.auth_stream) {
            Some(id) => Arc::new(Callback::new(self.streams.claim(self.scope, &id)?, reference.clone())),
            None => Arc::new(Anonymous),
        };
        let debug = wire::HttpDebug::try_from(resolver.http_debug)
            .map_err(|_| Error::invalid_argument(format!("http debug level {} is unknown", resolver.http_debug)))?;
        let http_debug = HttpDebug {
            requests: matches!(debug, wire::HttpDebug::Debug | wire::HttpDebug::Both),
            trace: matches!(debug, wire::HttpDebug::Trace | wire::HttpDebug::Both),
        };
        let wants_log = debug != wire::HttpDebug::Disabled;
        let log = match some(resolver.logs_stream).filter(|_| wants_log) {
            Some(id) => Some(send_bytes(self.streams.claim(self.scope, &id)?, &mut self.tasks.logs)),
            None => None,
        };
        Ok(Registry {
            reference,
            headers: resolver.headers.into_iter().collect(),
            hosts_dir: some(resolver.host_dir).map(PathBuf::from),
            default_scheme: some(resolver.default_scheme),
            http_debug,
            log,
            credentials,
        })
    }

    fn import(&mut self, stream: wire::ImageImportStream) -> Result<ImportStream> {
        let wire::ImageImportStream { stream, media_type, force_compress } = stream;
        let input = receive_bytes(self.streams.claim(self.scope, &stream)?, &mut self.tasks.files);
        Ok(ImportStream { input, media_type, force_compress })
    }

    fn export(&mut self, stream: wire::ImageExportStream) -> Result<ExportStream> {
        Ok(ExportStream {
            output: send_file(self.streams.claim(self.scope, &stream.stream)?, &mut self.tasks.files),
            platforms: stream.platforms.into_iter().map(platform).collect(),
            all_platforms: stream.all_platforms,
            skip_docker_manifest: stream.skip_compatibility_manifest,
            skip_non_distributable: stream.skip_non_distributable,
        })
    }
}

fn image_store(store: wire::ImageStore) -> ImageStore {
    let reference = |reference: wire::ImageReference| Reference {
        name: reference.name,
        is_prefix: reference.is_prefix,
        allow_overwrite: reference.allow_overwrite,
        add_digest: reference.add_digest,
        skip_named_digest: reference.skip_named_digest,
    };
    let unpack = |unpack: wire::UnpackConfiguration| Unpack {
        platform: platform(unpack.platform.unwrap_or_default()),
        snapshotter: unpack.snapshotter,
    };
    ImageStore {
        name: store.name,
        labels: store.labels,
        platforms: store.platforms.into_iter().map(platform).collect(),
        all_metadata: store.all_metadata,
        manifest_limit: usize::try_from(store.manifest_limit).unwrap_or(usize::MAX),
        references: store.extra_references.into_iter().map(reference).collect(),
        unpacks: store.unpacks.into_iter().map(unpack).collect(),
    }
}

fn platform(platform: types::Platform) -> Platform {
    Platform {
        architecture: platform.architecture,
        os: platform.os,
        os_version: platform.os_version,
        os_features: platform.os_features,
        variant: platform.variant,
    }
}
