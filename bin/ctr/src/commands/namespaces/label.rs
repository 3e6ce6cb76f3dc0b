//! `ctr namespaces label`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::labels;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::namespaces::v1::{Namespace, UpdateNamespaceRequest};

/// Flags of `ctr namespaces label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The namespace
    name: String,
    /// Labels to set; an empty value clears one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<String>,
}

impl Label {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        for (key, value) in labels(&self.labels) {
            let paths = vec![format!("labels.{key}")];
            let namespace = Namespace { name: self.name.clone(), labels: [(key, value)].into() };
            let update_mask = Some(prost_types::FieldMask { paths });
            client
                .namespaces()
                .update(UpdateNamespaceRequest { namespace: Some(namespace), update_mask })
                .await
                .reply()?;
        }
        Ok(())
    }
}
