//! `ctr containers checkpoint`: a container as an image, in containerd's own form.
//!
//! An index lists what there is of it: its image, what it has written as one more layer, its frozen processes, its
//! spec. Annotations name image, runtime and snapshotter.

use crate::commands::snapshots::View;
use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::output::warn;
use clap::Args;
use client::oci::{Descriptor, Index, Platform, media_types};
use client::{Chunks, Client, Expect, Reply as _, descriptor_from_wire, gc_labels, image_record};
use model::{Error, Labels, Result};
use prost::Message as _;
use proto::Any;
use proto::api::containerd::runc::v1::CheckpointOptions;
use proto::api::containerd::services::containers::v1::Container;
use proto::api::containerd::services::diff::v1::DiffRequest;
use proto::api::containerd::services::tasks::v1::{
    CheckpointTaskRequest, GetRequest, PauseTaskRequest, ResumeTaskRequest,
};
use proto::api::containerd::v1::types::Status;

/// Annotation: the name of the container's image.
pub(super) const IMAGE: &str = "org.opencontainers.image.ref.name";
/// Annotation: the name of its runtime.
pub(super) const RUNTIME: &str = "io.containerd.checkpoint.runtime";
/// Annotation: where its root filesystem is.
pub(super) const SNAPSHOTTER: &str = "io.containerd.checkpoint.snapshotter";
/// The runtime's options, as the `Any` of the record.
pub(super) const RUNTIME_OPTIONS: &str = "application/vnd.containerd.container.checkpoint.runtime.options+proto";
/// The options of the checkpoint itself.
const OPTIONS: &str = "application/vnd.containerd.container.checkpoint.options.v1+proto";

/// Flags of `ctr containers checkpoint`.
#[derive(Debug, Args)]
pub(crate) struct Checkpoint {
    /// Include the rw layer in the checkpoint
    #[arg(long)]
    rw: bool,
    /// Include the image in the checkpoint
    #[arg(long)]
    image: bool,
    /// Checkpoint container task
    #[arg(long)]
    task: bool,
    /// The container
    container: String,
    /// The checkpoint's name, as an image's
    #[arg(value_name = "REF")]
    reference: String,
}

impl Checkpoint {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let container = container::load(&client, &self.container).await?;
        let paused = pause(&client, &container.id).await?;
        let made = client.under_lease(async |client: Client| self.make(&client, &container).await).await;
        if paused {
            let request = ResumeTaskRequest { container_id: container.id.clone() };
            if let Err(error) = client.tasks().resume(request).await.reply() {
                warn(&format!("container {:?} stays paused: {error}", container.id));
            }
        }
        made.map_err(|error| error.context(format!("checkpoint container {:?}", self.container)))?;
        Ok(())
    }

    async fn make(&self, client: &Client, container: &Container) -> Result<()> {
        let runtime = container.runtime.clone().unwrap_or_default();
        let mut parts = Vec::new();
        if let Some(options) = runtime.options.as_ref().filter(|any| !any.value.is_empty()) {
            parts.push(store(client, &container.id, RUNTIME_OPTIONS, options).await?);
        }
        if self.image {
            parts.push(client.image_target(&container.image).await?);
        }
        if self.rw {
            parts.push(written(client, container).await?);
        }
        if self.task {
            parts.extend(processes(client, container).await?);
        } else if let Some(spec) = &container.spec {
            // With its processes the daemon gives the spec; without it nothing could be restored.
            parts.push(store(client, &container.id, media_types::CHECKPOINT_CONFIG, spec).await?);
        }
        let annotations = [(IMAGE, &container.image), (RUNTIME, &runtime.name), (SNAPSHOTTER, &container.snapshotter)];
        let annotations: Labels = annotations.map(|(key, value)| (key.to_owned(), value.clone())).into();
        let labels = gc_labels(&parts, false);
        let index = Index { schema_version: 2, manifests: parts, annotations, ..Index::default() };
        let bytes = serde_json::to_vec(&index);
        let bytes = bytes.map_err(|error| Error::internal("write the checkpoint's index").caused_by(error))?;
        let target = write(client, &format!("{}-index", container.id), media_types::INDEX, bytes, labels).await?;
        client.create_image(image_record(&self.reference, &target, &Labels::new())).await.map(drop)
    }
}

/// Pauses the container, if it runs. Returns whether it has to be resumed.
async fn pause(client: &Client, id: &str) -> Result<bool> {
    let request = GetRequest { container_id: id.to_owned(), exec_id: String::new() };
    let process = match client.tasks().get(request).await.reply() {
        Ok(reply) => reply.process.unwrap_or_default(),
        Err(error) if error.is_not_found() => return Ok(false),
        Err(error) => return Err(error),
    };
    if process.status != i32::from(Status::Running) {
        return Ok(false);
    }
    client.tasks().pause(PauseTaskRequest { container_id: id.to_owned() }).await.reply()?;
    Ok(true)
}

/// What the container has written, as a layer.
async fn written(client: &Client, container: &Container) -> Result<Descriptor> {
    let (snapshotter, key) = (&container.snapshotter, &container.snapshot_key);
    let parent = client.snapshot_info(snapshotter, key).await?.parent;
    let lower = View::open(client, snapshotter, &parent).await?;
    let made = match View::open(client, snapshotter, key).await {
        Ok(upper) => {
            let request = DiffRequest {
                left: lower.mounts().to_vec(),
                right: upper.mounts().to_vec(),
                media_type: media_types::LAYER_GZIP.to_owned(),
                r#ref: format!("checkpoint-rw-{key}"),
                ..DiffRequest::default()
            };
            let made = client.diffs().diff(request).await.reply();
            upper.close(client, snapshotter).await;
            made
        }
        Err(error) => Err(error),
    };
    lower.close(client, snapshotter).await;
    let diff = made?.diff.ok_or_else(|| Error::internal("the daemon's answer has no diff"))?;
    Ok(Descriptor { platform: Some(Platform::host()), ..descriptor_from_wire(diff)? })
}

/// The container's processes, frozen by CRIU, and the options with which they were.
async fn processes(client: &Client, container: &Container) -> Result<Vec<Descriptor>> {
    let options = client::any(&CheckpointOptions { file_locks: true, ..CheckpointOptions::default() });
    let request = CheckpointTaskRequest {
        container_id: container.id.clone(),
        parent_checkpoint: String::new(),
        options: Some(options.clone()),
    };
    let mut parts = Vec::new();
    for descriptor in client.tasks().checkpoint(request).await.reply()?.descriptors {
        parts.push(Descriptor { platform: Some(Platform::host()), ..descriptor_from_wire(descriptor)? });
    }
    parts.push(store(client, &container.id, OPTIONS, &options).await?);
    Ok(parts)
}

/// Stores an `Any` as a blob.
async fn store(client: &Client, id: &str, media_type: &str, any: &Any) -> Result<Descriptor> {
    let kind = media_type.rsplit('/').next().unwrap_or(media_type);
    let part = write(client, &format!("{id}-{kind}"), media_type, any.encode_to_vec(), Labels::new()).await?;
    Ok(Descriptor { platform: Some(Platform::host()), ..part })
}

async fn write(
    client: &Client,
    reference: &str,
    media_type: &str,
    bytes: Vec<u8>,
    labels: Labels,
) -> Result<Descriptor> {
    let source = Chunks::of(reference, bytes.into());
    let written = client.write_blob(reference, &Expect { labels, ..Expect::default() }, source).await?;
    let (digest, size) = (written.digest, written.size);
    Ok(Descriptor { media_type: media_type.to_owned(), digest, size, ..Descriptor::default() })
}
