//! `ctr images list`

use crate::commands::listing::Listing;
use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::joined_or_dash;
use crate::output::{Table, bytes, complain, line, print_json, timestamp_nanos};
use clap::Args;
use client::Client;
use proto::api::containerd::services::images::v1::Image;
use serde_json::{Value, json};

/// Flags of `ctr images list`.
#[derive(Debug, Args)]
pub(crate) struct List {
    #[command(flatten)]
    listing: Listing,
    /// Which ones (name==NAME, labels.KEY==VALUE, ...)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

impl List {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let images = client.list_images(self.filters).await?;
        if self.listing.is_quiet() {
            return images.iter().try_for_each(|image| line(&image.name));
        }
        let (mut table, mut documents) = (Table::narrow(), Vec::new());
        table.row(["REF", "TYPE", "DIGEST", "SIZE", "PLATFORMS", "LABELS"]);
        for image in &images {
            let (size, platforms) = details(&client, image).await;
            if self.listing.is_json() {
                documents.push(document(image, size, &platforms));
                continue;
            }
            let target = image.target.clone().unwrap_or_default();
            let platforms = if platforms.is_empty() { "-".to_owned() } else { platforms.join(",") };
            let labels = joined_or_dash(&image.labels);
            table.row([&image.name, &target.media_type, &target.digest, &bytes(size), &platforms, &labels]);
        }
        if self.listing.is_json() { print_json(&documents) } else { table.print() }
    }
}

/// Size and platforms. An image that lacks content is listed all the same.
async fn details(client: &Client, image: &Image) -> (u64, Vec<String>) {
    let broken = |what: &str, error: model::Error| complain(&format!("{what} for image {}: {error}", image.name));
    let target = match client::target_of(image) {
        Ok(target) => target,
        Err(error) => {
            broken("failed resolving target", error);
            return (0, Vec::new());
        }
    };
    let size = client.image_size(&target).await.unwrap_or_else(|error| {
        broken("failed calculating size", error);
        0
    });
    let platforms = client.image_platforms(&target).await.unwrap_or_else(|error| {
        broken("failed resolving platform", error);
        Vec::new()
    });
    let mut platforms: Vec<String> = platforms.iter().map(ToString::to_string).collect();
    platforms.sort();
    platforms.dedup();
    (size, platforms)
}

fn document(image: &Image, size: u64, platforms: &[String]) -> Value {
    let target = image.target.clone().unwrap_or_default();
    json!({
        "name": image.name,
        "target": {
            "mediaType": target.media_type,
            "digest": target.digest,
            "size": target.size,
            "annotations": target.annotations,
        },
        "size": size,
        "platforms": platforms,
        "labels": image.labels,
        "createdAt": timestamp_nanos(image.created_at.as_ref()),
        "updatedAt": timestamp_nanos(image.updated_at.as_ref()),
    })
}
