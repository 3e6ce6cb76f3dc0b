//! `ctr containers info`

use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::{any_to_json, labels_or_null, print_json, timestamp_nanos};
use clap::Args;
use proto::api::containerd::services::containers::v1::Container;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Flags of `ctr containers info`.
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// Only display the spec
    #[arg(long)]
    spec: bool,
    /// The container
    container: String,
}

impl Info {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let container = container::load(&client, &self.container).await?;
        if self.spec {
            return print_json(&container::spec_of(&container)?);
        }
        print_json(&document(&container)?)
    }
}

/// The record under the names of Go's `containers.Container`.
pub(super) fn document(container: &Container) -> model::Result<Value> {
    let runtime = container.runtime.clone().unwrap_or_default();
    let extensions: BTreeMap<&String, Value> =
        container.extensions.iter().map(|(name, value)| (name, any_to_json(value))).collect();
    let mut document = json!({
        "ID": container.id,
        "Labels": labels_or_null(&container.labels),
        "Image": container.image,
        "Runtime": {"Name": runtime.name, "Options": runtime.options.as_ref().map(any_to_json)},
        "SnapshotKey": container.snapshot_key,
        "Snapshotter": container.snapshotter,
        "CreatedAt": timestamp_nanos(container.created_at.as_ref()),
        "UpdatedAt": timestamp_nanos(container.updated_at.as_ref()),
        "Extensions": extensions,
        "SandboxID": container.sandbox,
    });
    if container.spec.as_ref().is_some_and(|spec| !spec.value.is_empty()) {
        document["Spec"] = container::spec_of(container)?;
    }
    Ok(document)
}
