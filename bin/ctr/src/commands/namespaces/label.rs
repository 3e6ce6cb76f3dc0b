//! `ctr namespaces label`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::LabelArgs;
use clap::Args;
use client::{Reply as _, label_mask};
use proto::api::containerd::services::namespaces::v1::{Namespace, UpdateNamespaceRequest};

/// Flags of `ctr namespaces label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The namespace
    name: String,
    #[command(flatten)]
    labels: LabelArgs,
}

impl Label {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        for (key, value) in self.labels.get() {
            let labels = [(key, value)].into();
            let update_mask = Some(label_mask(&labels));
            let namespace = Namespace { name: self.name.clone(), labels };
            client
                .namespaces()
                .update(UpdateNamespaceRequest { namespace: Some(namespace), update_mask })
                .await
                .reply()?;
        }
        Ok(())
    }
}
