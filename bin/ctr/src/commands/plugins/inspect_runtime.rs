//! `ctr plugins inspect-runtime`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::RuntimeFlags;
use crate::output::{labels_or_null, print_json};
use clap::Args;
use client::Reply as _;
use model::Error;
use proto::api::containerd::services::introspection::v1::PluginInfoRequest;
use proto::api::containerd::types::{RuntimeInfo, RuntimeRequest};
use serde_json::{Value, json};

/// Flags of `ctr plugins inspect-runtime`.
#[derive(Debug, Args)]
pub(crate) struct InspectRuntime {
    #[command(flatten)]
    runtime: RuntimeFlags,
}

impl InspectRuntime {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let options = self.runtime.options(None)?;
        let client = context.connect().await?;
        let request = RuntimeRequest { runtime_path: self.runtime.runtime, options };
        let request = PluginInfoRequest {
            r#type: "io.containerd.runtime.v2".into(),
            id: "task".into(),
            options: Some(client::any(&request)),
        };
        let reply = client.introspection().plugin_info(request).await.reply()?;
        let extra = reply.extra.ok_or_else(|| Error::internal("the daemon's answer has no runtime info"))?;
        let info: RuntimeInfo = prost::Message::decode(extra.value.as_slice())
            .map_err(|error: prost::DecodeError| Error::internal("the runtime info is broken").caused_by(error))?;
        let version = info.version.unwrap_or_default();
        // Features are the JSON that the runtime itself printed.
        let features = info.features.and_then(|any| serde_json::from_slice::<Value>(&any.value).ok());
        let options = info.options.map(|any| crate::output::to_json_named(&any.type_url, &any.value)).transpose()?;
        print_json(&json!({
            "Name": info.name,
            "Version": {"Version": version.version, "Revision": version.revision},
            "Options": options,
            "Features": features,
            "Annotations": labels_or_null(&info.annotations),
        }))
    }
}
