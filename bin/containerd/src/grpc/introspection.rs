//! Introspection: what this server is and what it is made of.

use crate::plugins::Plugin;
use engine::{Engine, RuntimeInfo};
use model::{Error, Filter, Kind, filter::Adaptor};
use prost::Message as _;
use proto::{
    api::containerd::{
        services::introspection::v1::{self as api, introspection_server},
        types::{self, RuntimeRequest},
    },
    convert::{any_from_wire, any_of, any_to_wire, status},
};
use std::{borrow::Cow, fs, os::unix::fs::MetadataExt as _};
use tonic::{Request, Response, Status, async_trait};

/// The plugin that can be asked for more: it runs shims.
const RUNTIME: (&str, &str) = ("io.containerd.runtime.v2", "task");

/// The service.
#[derive(Debug)]
pub(crate) struct Introspection {
    pub(crate) plugins: Vec<Plugin>,
    /// Identifies this root for good.
    pub(crate) uuid: String,
    pub(crate) engine: Engine,
}

/// What a filter can ask of a plugin: containerd answers for these two only.
impl Adaptor for Plugin {
    fn field(&self, path: &[String]) -> Option<Cow<'_, str>> {
        match path.first()?.as_str() {
            "type" => Some(Cow::Borrowed(self.kind)),
            "id" => Some(Cow::Borrowed(&self.id)),
            _ => None,
        }
    }
}

fn plugin(plugin: &Plugin) -> api::Plugin {
    api::Plugin {
        r#type: plugin.kind.to_owned(),
        id: plugin.id.clone(),
        requires: plugin.requires.iter().map(|&kind| kind.to_owned()).collect(),
        platforms: plugin.has_platform.then(native_platform).into_iter().collect(),
        exports: plugin.exports.clone(),
        capabilities: plugin.capabilities.clone(),
        init_err: plugin.init_error.as_ref().map(proto::ttrpc::status_of),
    }
}

/// The platform we were built for, in OCI's words.
fn native_platform() -> types::Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" if cfg!(target_endian = "little") => "ppc64le",
        other => other,
    };
    types::Platform { os: "linux".into(), architecture: architecture.into(), ..Default::default() }
}

fn runtime_info(info: RuntimeInfo) -> types::RuntimeInfo {
    types::RuntimeInfo {
        name: info.name,
        version: Some(types::RuntimeVersion { version: info.version, revision: info.revision }),
        options: info.options.map(any_to_wire),
        features: info.features.map(any_to_wire),
        annotations: info.annotations,
    }
}

#[async_trait]
impl introspection_server::Introspection for Introspection {
    async fn plugins(&self, request: Request<api::PluginsRequest>) -> Result<Response<api::PluginsResponse>, Status> {
        let filter = Filter::parse(&request.into_inner().filters).map_err(status)?;
        let plugins = self.plugins.iter().filter(|plugin| filter.matches(*plugin)).map(plugin).collect();
        Ok(Response::new(api::PluginsResponse { plugins }))
    }

    async fn server(&self, _: Request<()>) -> Result<Response<api::ServerResponse>, Status> {
        let namespace =
            fs::metadata("/proc/self/ns/pid").map_err(|error| status(Error::io("stat /proc/self/ns/pid", error)))?;
        Ok(Response::new(api::ServerResponse {
            uuid: self.uuid.clone(),
            pid: u64::from(std::process::id()),
            pidns: namespace.ino(),
            // Nothing deprecated is supported.
            deprecations: Vec::new(),
        }))
    }

    async fn plugin_info(
        &self,
        request: Request<api::PluginInfoRequest>,
    ) -> Result<Response<api::PluginInfoResponse>, Status> {
        let request = request.into_inner();
        let (kind, id) = (request.r#type.as_str(), request.id.as_str());
        let found = self.plugins.iter().find(|plugin| plugin.kind == kind && plugin.id == id);
        let found = found.ok_or_else(|| status(Error::not_found(format!("plugin {kind}.{id}"))))?;
        if (kind, id) != RUNTIME {
            return Err(status(Error::new(Kind::Unimplemented, format!("plugin {kind}.{id} does not provide info"))));
        }
        let options = request.options.unwrap_or_default();
        let runtime = RuntimeRequest::decode(options.value.as_slice())
            .map_err(|error| status(Error::invalid_argument(format!("options are no RuntimeRequest: {error}"))))?;
        let info = self.engine.runtime_info(&runtime.runtime_path, runtime.options.map(any_from_wire)).await;
        let extra = any_of(&runtime_info(info.map_err(status)?));
        Ok(Response::new(api::PluginInfoResponse { plugin: Some(plugin(found)), extra: Some(extra) }))
    }
}
