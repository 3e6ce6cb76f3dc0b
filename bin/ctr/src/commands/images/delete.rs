//! `ctr images delete`

use crate::context::Context;
use crate::failure::{Failure, Outcome};
use crate::output::{complain, line, warn};
use clap::Args;
use client::Reply as _;
use proto::api::containerd::services::images::v1::DeleteImageRequest;

/// Flags of `ctr images delete`.
#[derive(Debug, Args)]
pub(crate) struct Delete {
    /// Synchronously remove image and all associated resources
    #[arg(long)]
    sync: bool,
    /// The images
    #[arg(value_name = "REF")]
    images: Vec<String>,
}

impl Delete {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let mut failed = false;
        for (index, name) in self.images.iter().enumerate() {
            // One collection is enough, after the last.
            let sync = self.sync && index + 1 == self.images.len();
            let request = DeleteImageRequest { name: name.clone(), sync, target: None };
            match client.images().delete(request).await.reply() {
                Ok(()) => line(name)?,
                Err(error) if error.is_not_found() => warn(&format!("{name}: image not found")),
                Err(error) => {
                    complain(&format!("unable to delete {name}: {error}"));
                    failed = true;
                }
            }
        }
        Failure::when(failed)
    }
}
