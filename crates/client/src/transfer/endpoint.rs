//! The ends of a transfer, as requests name them.

use super::{Attendants, Authenticate, auth, bytes};
use crate::oci::Platform;
use crate::{Chunks, Client};
use model::{Labels, Result};
use proto::Any;
use proto::api::containerd::types::{self, transfer};
use std::{fmt, io::Write, sync::Arc};

/// Where an image comes from, or goes to.
#[derive(Debug)]
pub enum Endpoint {
    /// A registry.
    Registry(Registry),
    /// The daemon's own store.
    Store(Store),
    /// An archive of ours, read.
    Import(Archive),
    /// An archive of ours, written.
    Export(ExportTo),
}

/// A repository of a registry.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    /// The image's name.
    pub reference: String,
    /// Headers sent with every request.
    pub headers: Labels,
    /// The daemon's directory of `hosts.toml` folders; empty for its own configuration.
    pub hosts_dir: String,
    /// Whether a host that is not configured is spoken to without TLS.
    pub plain_http: bool,
    /// Who knows credentials.
    pub credentials: Option<Arc<dyn Authenticate>>,
    /// What to say of the HTTP requests, to our stderr.
    pub log: HttpLog,
}

/// What the daemon tells of its HTTP requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HttpLog {
    /// Requests and answers.
    pub dump: bool,
    /// Names looked up, connections, handshakes.
    pub trace: bool,
}

/// Images in the daemon's store.
#[derive(Clone, Debug, Default)]
pub struct Store {
    /// Its name; for an import, that of the whole index.
    pub name: String,
    /// Labels of the image's record.
    pub labels: Labels,
    /// Platforms that are wanted; empty for all.
    pub platforms: Vec<Platform>,
    /// Whether manifests and configurations of the other platforms are wanted too.
    pub all_metadata: bool,
    /// What is unpacked, and where.
    pub unpack: Vec<Unpack>,
    /// Names for images of an archive, or of those to export.
    pub references: Vec<Naming>,
}

/// Layers to unpack.
#[derive(Clone, Debug)]
pub struct Unpack {
    /// Of the image for this platform.
    pub platform: Platform,
    /// Into this snapshotter; empty for the default.
    pub snapshotter: String,
}

/// A name, or how names are made.
#[derive(Clone, Debug, Default)]
pub struct Naming {
    /// The name, or what it begins with.
    pub name: String,
    /// Whether it is the beginning only: a tag or digest is added.
    pub is_prefix: bool,
    /// Whether a name given in the archive goes before this prefix.
    pub allow_overwrite: bool,
    /// Whether a name by digest is made as well.
    pub add_digest: bool,
    /// Whether that is left out where there is a name by tag.
    pub skip_named_digest: bool,
}

/// An archive to import.
#[derive(Debug)]
pub struct Archive {
    /// Its bytes.
    pub bytes: Chunks,
    /// Whether layers that are not compressed get compressed.
    pub compress: bool,
}

/// An archive to export to.
pub struct ExportTo {
    /// Who takes the bytes.
    pub sink: Box<dyn Write + Send>,
    /// Platforms that are wanted; empty for the daemon's.
    pub platforms: Vec<Platform>,
    /// All of them.
    pub all_platforms: bool,
    /// Whether to leave out the document by which Docker loads it.
    pub skip_docker_manifest: bool,
    /// Whether to leave out layers that only their maker may hand out.
    pub skip_non_distributable: bool,
}

impl fmt::Debug for ExportTo {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("ExportTo").field("platforms", &self.platforms).finish_non_exhaustive()
    }
}

impl Endpoint {
    /// Opens its streams, puts somebody at each, and says what the request calls it.
    pub(super) async fn open(self, client: &Client, attendants: &mut Attendants) -> Result<Any> {
        match self {
            Self::Registry(registry) => registry.open(client, attendants).await,
            Self::Store(store) => Ok(crate::any(&store.to_wire())),
            Self::Import(archive) => {
                let stream = client.open_stream("import").await?;
                let message = transfer::ImageImportStream {
                    stream: stream.id.clone(),
                    media_type: String::new(),
                    force_compress: archive.compress,
                };
                attendants.helpers.spawn(bytes::send(stream, archive.bytes));
                Ok(crate::any(&message))
            }
            Self::Export(to) => {
                let stream = client.open_stream("export").await?;
                let message = transfer::ImageExportStream {
                    stream: stream.id.clone(),
                    media_type: String::new(),
                    platforms: to.platforms.iter().map(platform_to_wire).collect(),
                    all_platforms: to.all_platforms,
                    skip_compatibility_manifest: to.skip_docker_manifest,
                    skip_non_distributable: to.skip_non_distributable,
                };
                let replied = attendants.replied.subscribe();
                attendants
                    .output
                    .spawn(async move { bytes::receive(stream, to.sink, "the archive", Some(replied)).await });
                Ok(crate::any(&message))
            }
        }
    }
}

impl Registry {
    async fn open(self, client: &Client, attendants: &mut Attendants) -> Result<Any> {
        let mut resolver = transfer::RegistryResolver {
            headers: self.headers.clone(),
            host_dir: self.hosts_dir,
            default_scheme: if self.plain_http { "http".to_owned() } else { String::new() },
            http_debug: self.log.to_wire().into(),
            ..transfer::RegistryResolver::default()
        };
        if let Some(credentials) = self.credentials {
            let stream = client.open_stream("creds").await?;
            resolver.auth_stream.clone_from(&stream.id);
            attendants.helpers.spawn(auth::answer(stream, credentials));
        }
        if self.log != HttpLog::default() {
            let stream = client.open_stream("http-debug-logs").await?;
            resolver.logs_stream.clone_from(&stream.id);
            attendants.helpers.spawn(async move {
                // What is told of the transfer must not end it.
                let _ = bytes::receive(stream, std::io::stderr(), "HTTP logs", None).await;
                Ok(())
            });
        }
        Ok(crate::any(&transfer::OciRegistry { reference: self.reference, resolver: Some(resolver) }))
    }
}

impl HttpLog {
    fn to_wire(self) -> transfer::HttpDebug {
        match (self.dump, self.trace) {
            (false, false) => transfer::HttpDebug::Disabled,
            (true, false) => transfer::HttpDebug::Debug,
            (false, true) => transfer::HttpDebug::Trace,
            (true, true) => transfer::HttpDebug::Both,
        }
    }
}

impl Store {
    fn to_wire(&self) -> transfer::ImageStore {
        let unpacks = self.unpack.iter().map(|unpack| transfer::UnpackConfiguration {
            platform: Some(platform_to_wire(&unpack.platform)),
            snapshotter: unpack.snapshotter.clone(),
        });
        let references = self.references.iter().map(|naming| transfer::ImageReference {
            name: naming.name.clone(),
            is_prefix: naming.is_prefix,
            allow_overwrite: naming.allow_overwrite,
            add_digest: naming.add_digest,
            skip_named_digest: naming.skip_named_digest,
        });
        transfer::ImageStore {
            name: self.name.clone(),
            labels: self.labels.clone(),
            platforms: self.platforms.iter().map(platform_to_wire).collect(),
            all_metadata: self.all_metadata,
            manifest_limit: 0,
            extra_references: references.collect(),
            unpacks: unpacks.collect(),
        }
    }
}

fn platform_to_wire(platform: &Platform) -> types::Platform {
    types::Platform {
        os: platform.os.clone(),
        architecture: platform.architecture.clone(),
        variant: platform.variant.clone(),
        os_version: platform.os_version.clone(),
        os_features: platform.os_features.clone(),
    }
}
