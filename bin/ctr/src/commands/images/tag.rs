//! `ctr images tag`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::line;
use clap::Args;
use client::oci::docker_reference;
use client::{Client, Reply as _};
use model::{Error, Result};
use proto::api::containerd::services::images::v1::{CreateImageRequest, DeleteImageRequest, Image};

/// Flags of `ctr images tag`.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Force target_ref to be created, regardless if it already exists
    #[arg(long)]
    force: bool,
    /// Run tag locally rather than through transfer API (which is always so)
    #[arg(long)]
    local: bool,
    /// Skip the strict check for reference names
    #[arg(long)]
    skip_reference_check: bool,
    /// The image
    source: String,
    /// Its further names
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,
}

impl Tag {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let tag = async |client: Client| {
            let image = client.image(&self.source).await?;
            for target in &self.targets {
                self.tag(&client, &image, target).await?;
            }
            Ok(())
        };
        client.under_lease(tag).await?;
        self.targets.iter().try_for_each(line)
    }

    async fn tag(&self, client: &Client, image: &Image, name: &str) -> Result<()> {
        if !self.skip_reference_check {
            docker_reference(name).map_err(|error| {
                Error::invalid_argument(format!("error parsing reference: {name:?} is not a valid repository/tag"))
                    .caused_by(error)
            })?;
        }
        let image = Image { name: name.to_owned(), ..image.clone() };
        let request = CreateImageRequest { image: Some(image), source_date_epoch: None };
        match client.images().create(request.clone()).await.reply() {
            Err(error) if error.is_already_exists() && self.force => {
                let delete = DeleteImageRequest { name: name.to_owned(), ..DeleteImageRequest::default() };
                client.images().delete(delete).await.reply()?;
                client.images().create(request).await.reply()?;
                Ok(())
            }
            Err(error) if error.is_already_exists() => Err(error.context("tag (use --force to replace it)")),
            result => result.map(|_| ()),
        }
    }
}
