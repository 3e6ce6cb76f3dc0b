//! `ctr containers list`

use super::info::document;
use crate::commands::listing::Listing;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::Table;
use clap::Args;
use client::{Client, Reply as _, decode_all, error_of};
use model::{Error, Kind, Result};
use proto::api::containerd::services::containers::v1::{Container, ListContainersRequest};

/// Flags of `ctr containers list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
    /// Which ones (image==NAME, labels.KEY==VALUE, ...)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let containers = list(&client, self.filters).await?;
        self.listing.print(
            &containers,
            |container| &container.id,
            document,
            |containers| {
                let mut table = Table::wide();
                table.row(["CONTAINER", "IMAGE", "RUNTIME"]);
                for container in containers {
                    let image = if container.image.is_empty() { "-" } else { &container.image };
                    let runtime = container.runtime.as_ref().map(|runtime| runtime.name.as_str());
                    table.row([&container.id, image, runtime.unwrap_or_default()]);
                }
                table
            },
        )
    }
}

/// Every container that a filter matches. The streamed list has no limit of size; old daemons have only the other.
pub(crate) async fn list(client: &Client, filters: Vec<String>) -> Result<Vec<Container>> {
    let streamed: Result<Vec<Container>> = async {
        let request = ListContainersRequest { filters: filters.clone() };
        let mut stream = client.containers().list_stream(request).await.reply()?;
        let mut containers = Vec::new();
        while let Some(message) = stream.message().await.map_err(error_of)? {
            containers.push(message.container.ok_or_else(|| Error::internal("a container is missing in the list"))?);
        }
        Ok(containers)
    }
    .await;
    match streamed {
        Err(error) if error.kind() == Kind::Unimplemented => {
            let reply = client.containers().list(ListContainersRequest { filters }).await.reply()?;
            decode_all(&reply.containers)
        }
        result => result,
    }
}
