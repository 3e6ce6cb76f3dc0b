//! `ctr images label`

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::{joined, labels};
use crate::output::line;
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::images::v1::{Image, UpdateImageRequest};
use proto::api::containerd::types::Descriptor;

/// Flags of `ctr images label`.
#[derive(Debug, Args)]
pub(crate) struct Label {
    /// Replace all labels
    #[arg(short, long)]
    replace_all: bool,
    /// The image
    name: String,
    /// Labels to set; an empty value clears one
    #[arg(value_name = "KEY=VALUE")]
    labels: Vec<String>,
}

impl Label {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let labels = labels(&self.labels);
        if labels.is_empty() && !self.replace_all {
            return line(joined(&client.image(&self.name).await?.labels));
        }
        let paths = match self.replace_all {
            true => vec!["labels".to_owned()],
            false => labels.keys().map(|key| format!("labels.{key}")).collect(),
        };
        let request = UpdateImageRequest {
            // Go's daemon looks into the target before it looks at the mask.
            image: Some(Image { name: self.name, labels, target: Some(Descriptor::default()), ..Image::default() }),
            update_mask: Some(prost_types::FieldMask { paths }),
            source_date_epoch: None,
        };
        let updated = client.images().update(request).await.reply()?.image.unwrap_or_default();
        line(joined(&updated.labels))
    }
}
