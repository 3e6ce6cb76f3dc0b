//! `ctr images tag`

use crate::context::Context;
use crate::failure::Outcome;
use crate::output::line;
use clap::Args;
use client::oci::docker_reference;
use client::transfer::{Endpoint, Store};
use client::{Client, Silent};
use model::{Error, Result};
use proto::api::containerd::services::images::v1::Image;

/// Flags of `ctr images tag`.
#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Force target_ref to be created, regardless if it already exists; the transfer API always does
    #[arg(long)]
    force: bool,
    /// Run tag locally rather than through transfer API
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
        if !self.local {
            for target in &self.targets {
                self.check(target)?;
                let store = |name: &String| Endpoint::Store(Store { name: name.clone(), ..Store::default() });
                client.transfer(store(&self.source), store(target), &Silent).await?;
                line(target)?;
            }
            return Ok(());
        }
        let tag = async |client: Client| {
            let image = client.image(&self.source).await?;
            for target in &self.targets {
                self.check(target)?;
                self.tag(&client, &image, target).await?;
            }
            Ok(())
        };
        client.under_lease(tag).await?;
        self.targets.iter().try_for_each(line)
    }

    fn check(&self, name: &str) -> Result<()> {
        if self.skip_reference_check {
            return Ok(());
        }
        docker_reference(name).map(drop).map_err(|error| {
            Error::invalid_argument(format!("error parsing reference: {name:?} is not a valid repository/tag"))
                .caused_by(error)
        })
    }

    async fn tag(&self, client: &Client, image: &Image, name: &str) -> Result<()> {
        let image = Image { name: name.to_owned(), ..image.clone() };
        match client.create_image(image.clone()).await {
            Err(error) if error.is_already_exists() && self.force => {
                client.delete_image(name).await?;
                client.create_image(image).await.map(drop)
            }
            Err(error) if error.is_already_exists() => Err(error.context("tag (use --force to replace it)")),
            result => result.map(|_| ()),
        }
    }
}
