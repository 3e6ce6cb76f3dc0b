//! `ctr tasks checkpoint`

use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use clap::Args;
use client::Reply as _;
use model::Error;
use proto::api::containerd::runc::v1::CheckpointOptions;
use proto::api::containerd::services::tasks::v1::CheckpointTaskRequest;

/// Flags of `ctr tasks checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    /// Stop the container after the checkpoint
    #[arg(long)]
    exit: bool,
    /// Path to criu image files
    #[arg(long, value_name = "DIR")]
    image_path: Option<String>,
    /// Path to criu work files and logs
    #[arg(long, value_name = "DIR")]
    work_path: Option<String>,
    /// The container
    container: String,
}

impl Checkpoint {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let image_path = self.image_path.filter(|path| !path.is_empty()).ok_or_else(|| {
            Error::unimplemented("a checkpoint as an image is not yet supported: give a folder with --image-path")
        })?;
        let client = context.connect().await?;
        let container = container::load(&client, &self.container).await?;
        let options = CheckpointOptions {
            exit: self.exit,
            image_path,
            work_path: self.work_path.unwrap_or_default(),
            ..CheckpointOptions::default()
        };
        let request = CheckpointTaskRequest {
            container_id: container.id,
            parent_checkpoint: String::new(),
            options: Some(client::any(&options)),
        };
        client.tasks().checkpoint(request).await.reply()?;
        Ok(())
    }
}
