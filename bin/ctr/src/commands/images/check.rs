//! `ctr images check`

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::flags::SnapshotterFlag;
use crate::output::{Output, Table, bytes, complain, line, print_json};
use clap::Args;
use client::{Client, Platforms, Silent, Unpacker};
use model::Result;
use proto::api::containerd::services::images::v1::Image;
use serde_json::json;
use std::sync::Arc;

/// Flags of `ctr images check`.
#[derive(Debug, Args)]
pub(crate) struct Check {
    /// Print only the ready image refs (fully downloaded and unpacked)
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    snapshotter: SnapshotterFlag,
    #[command(flatten)]
    output: Output,
    /// Which ones (name==NAME, labels.KEY==VALUE, ...)
    #[arg(value_name = "FILTER")]
    filters: Vec<String>,
}

/// What of an image is there.
#[derive(Default)]
struct Found {
    /// Whether its manifest for this machine is.
    available: bool,
    blobs: (usize, usize),
    bytes: (u64, u64),
}

impl Check {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let images = client.list_images(self.filters).await?;
        let unpacker = Unpacker::new(&client, self.snapshotter.name(), false, Arc::new(Silent)).await?;
        let (mut table, mut documents, mut failed) = (Table::narrow(), Vec::new(), false);
        table.row(["REF", "TYPE", "DIGEST", "STATUS", "SIZE", "UNPACKED"]);
        for image in &images {
            let found = check(&client, image).await;
            let unpacked = is_unpacked(&client, &unpacker, image).await;
            let errors = [("", found.as_ref().err()), ("unpack for ", unpacked.as_ref().err())];
            for (what, error) in errors.into_iter().filter_map(|(what, error)| Some((what, error?))) {
                complain(&format!("unable to check {what}{}: {error}", image.name));
                failed = true;
            }
            let unpacked = unpacked.unwrap_or(false);
            let (status, size) = found.as_ref().map_or(("error".into(), "-".into()), Found::describe);
            let complete = found.as_ref().is_ok_and(Found::is_complete);
            let target = image.target.clone().unwrap_or_default();
            if self.output.is_json() {
                documents.push(json!({
                    "name": image.name,
                    "digest": target.digest,
                    "complete": complete,
                    "unpacked": unpacked,
                    "status": status,
                }));
            } else if !self.quiet {
                let (kind, digest) = (&target.media_type, &target.digest);
                table.line(format!("{}\t{kind}\t{digest}\t{status}\t{size}\t{unpacked}", image.name));
            } else if complete && unpacked {
                line(&image.name)?;
            }
        }
        match (self.output.is_json(), self.quiet || images.is_empty()) {
            (true, _) => print_json(&documents)?,
            (false, false) => table.print()?,
            (false, true) => {}
        }
        Failure::when(failed)
    }
}

async fn check(client: &Client, image: &Image) -> Result<Found> {
    let target = client::target_of(image)?;
    let (_, manifest) = match client.image_manifest(&target, &Platforms::host()).await {
        Err(error) if error.is_not_found() => return Ok(Found::default()),
        found => found?,
    };
    let mut found = Found { available: true, ..Found::default() };
    for blob in std::iter::once(&manifest.config).chain(&manifest.layers) {
        found.blobs.1 += 1;
        found.bytes.1 += blob.size;
        if client.has_blob(&blob.digest).await? {
            found.blobs.0 += 1;
            found.bytes.0 += blob.size;
        }
    }
    Ok(found)
}

/// Whether its layers are snapshots; they cannot be told without its configuration.
async fn is_unpacked(client: &Client, unpacker: &Unpacker, image: &Image) -> Result<bool> {
    let target = client::target_of(image)?;
    unpacker.is_unpacked(&client.image_content(&target, &Platforms::host()).await?).await
}

impl Found {
    fn is_complete(&self) -> bool {
        self.available && self.blobs.0 == self.blobs.1
    }

    /// Status and size, in words.
    fn describe(&self) -> (String, String) {
        let ((blobs, all_blobs), (size, all_bytes)) = (self.blobs, self.bytes);
        if !self.available {
            return ("unavailable (0/?)".into(), format!("{}/?", bytes(0)));
        }
        let status = if self.is_complete() { "complete" } else { "incomplete" };
        (format!("{status} ({blobs}/{all_blobs})"), format!("{}/{}", bytes(size), bytes(all_bytes)))
    }
}
