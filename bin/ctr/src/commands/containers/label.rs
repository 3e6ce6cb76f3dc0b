//! `ctr containers label`

use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::{LabelArgs, joined};
use crate::output::line;
use clap::Args;
use client::{Reply as _, label_mask};
use proto::api::containerd::services::containers::v1::{Container, UpdateContainerRequest};

/// Flags of `ctr containers label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// The container
    container: String,
    #[command(flatten)]
    labels: LabelArgs,
}

impl Label {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let labels = self.labels.get();
        if labels.is_empty() {
            return line(joined(&container::load(&client, &self.container).await?.labels));
        }
        let update_mask = Some(label_mask(&labels));
        let container = Container { id: self.container, labels, ..Container::default() };
        let request = UpdateContainerRequest { container: Some(container), update_mask };
        let updated = client.containers().update(request).await.reply()?.container.unwrap_or_default();
        line(joined(&updated.labels))
    }
}
