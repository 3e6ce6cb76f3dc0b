//! `ctr containers label`

use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::{joined, labels};
use crate::output::line;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::containers::v1::{Container, UpdateContainerRequest};

/// Flags of `ctr containers label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The container
    container: String,
    /// Labels to set; an empty value clears one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<String>,
}

impl Label {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let labels = labels(&self.labels);
        if labels.is_empty() {
            return line(joined(&container::load(&client, &self.container).await?.labels));
        }
        let paths = labels.keys().map(|key| format!("labels.{key}")).collect();
        let container = Container { id: self.container, labels, ..Container::default() };
        let update_mask = Some(prost_types::FieldMask { paths });
        let request = UpdateContainerRequest { container: Some(container), update_mask };
        let updated = client.containers().update(request).await.reply()?.container.unwrap_or_default();
        line(joined(&updated.labels))
    }
}
