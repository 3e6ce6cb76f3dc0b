//! `ctr images label`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::{LabelArgs, joined};
use crate::output::line;
use clap::Args;
use client::label_mask;
use proto::api::containerd::services::images::v1::Image;
use proto::api::containerd::types::Descriptor;

/// Flags of `ctr images label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// Replace all labels
    #[arg(short, long)]
    replace_all: bool,
    /// The image
    name: String,
    #[command(flatten)]
    labels: LabelArgs,
}

impl Label {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let labels = self.labels.get();
        if labels.is_empty() && !self.replace_all {
            return line(joined(&client.image(&self.name).await?.labels));
        }
        let update_mask = match self.replace_all {
            true => prost_types::FieldMask { paths: vec!["labels".to_owned()] },
            false => label_mask(&labels),
        };
        // Go's daemon looks into the target before it looks at the mask.
        let image = Image { name: self.name, labels, target: Some(Descriptor::default()), ..Image::default() };
        line(joined(&client.update_image(image, Some(update_mask)).await?.labels))
    }
}
