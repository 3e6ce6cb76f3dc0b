//! `ctr containers restore`: a container from a checkpoint, and its task.

use super::checkpoint::{IMAGE, RUNTIME, RUNTIME_OPTIONS, SNAPSHOTTER};
use crate::commands::tasks::{Beginning, begin};
use crate::container;
use crate::context::Context;
use crate::failure::Outcome;
use crate::task::Stdio;
use clap::Args;
use client::oci::{Descriptor, Index, media_types};
use client::{Client, Platforms, Reply as _, descriptor_to_wire};
use model::{Error, Result};
use prost::Message as _;
use proto::Any;
use proto::api::containerd::services::containers::v1::container::Runtime;
use proto::api::containerd::services::containers::v1::{Container, CreateContainerRequest};
use proto::api::containerd::services::diff::v1::ApplyRequest;
use proto::api::containerd::services::snapshots::v1::{PrepareSnapshotRequest, RemoveSnapshotRequest};

/// A tar of CRIU's images.
const PROCESSES: &str = "application/vnd.containerd.container.criu.checkpoint.criu.tar";

/// Flags of `ctr containers restore`.
#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Restore the rw layer from the checkpoint
    #[arg(long)]
    rw: bool,
    /// Restore the runtime and memory data from the checkpoint
    #[arg(long)]
    live: bool,
    /// The new container
    container: String,
    /// The checkpoint
    #[arg(value_name = "REF")]
    reference: String,
}

impl Restore {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let failed = |error: Error| error.context(format!("restore {}", self.reference));
        let target = client.image_target(&self.reference).await?;
        let index: Index = client.read_document(&target).await.map_err(failed)?;
        let processes = match self.live {
            true => Some(descriptor_to_wire(self.part(&index, PROCESSES)?)),
            false => None,
        };
        let create = async |client: Client| self.create(&client, &index).await;
        let created = client.under_lease(create).await;
        let container = created.map_err(failed)?;
        let spec = container::spec_of(&container)?;
        let terminal = container::has_terminal(&spec);
        // Without a terminal nobody is attached, as with Go's ctr.
        let stdio = if terminal { Stdio::Pipes { folder: None, terminal } } else { Stdio::Null };
        let how = Beginning { stdio, detach: !terminal, no_pivot: false, pid_file: None, checkpoint: processes };
        begin(&client, &container, &spec, how).await
    }

    /// The part of the checkpoint that has this type.
    fn part<'a>(&self, index: &'a Index, media_type: &str) -> Result<&'a Descriptor> {
        index
            .manifests
            .iter()
            .find(|part| part.media_type == media_type)
            .ok_or_else(|| Error::not_found(format!("checkpoint {} has no part of type {media_type}", self.reference)))
    }

    fn annotation<'a>(&self, index: &'a Index, key: &str) -> Result<&'a str> {
        let value = index.annotations.get(key).map(String::as_str).filter(|value| !value.is_empty());
        value.ok_or_else(|| Error::invalid_argument(format!("{} is no checkpoint: it has no {key}", self.reference)))
    }

    async fn create(&self, client: &Client, index: &Index) -> Result<Container> {
        let spec = read(client, self.part(index, media_types::CHECKPOINT_CONFIG)?).await?;
        let options = match self.part(index, RUNTIME_OPTIONS) {
            Ok(part) => Some(read(client, part).await?),
            Err(_) => None,
        };
        let runtime = Runtime { name: self.annotation(index, RUNTIME)?.to_owned(), options };
        let snapshotter = self.annotation(index, SNAPSHOTTER)?.to_owned();
        let image = self.annotation(index, IMAGE)?;
        let content = client.image_content(&client.image_target(image).await?, &Platforms::host()).await?;
        let parent = content.chain_id()?.map(|chain_id| chain_id.to_string()).unwrap_or_default();
        let (key, labels) = (self.container.clone(), Default::default());
        let request = PrepareSnapshotRequest { snapshotter: snapshotter.clone(), key: key.clone(), parent, labels };
        let mounts = client.snapshots().prepare(request).await.reply()?.mounts;
        let container = Container {
            id: self.container.clone(),
            image: image.to_owned(),
            runtime: Some(runtime),
            spec: Some(spec),
            snapshotter: snapshotter.clone(),
            snapshot_key: key.clone(),
            ..Container::default()
        };
        let created = async {
            if self.rw {
                let diff = Some(descriptor_to_wire(self.part(index, media_types::LAYER_GZIP)?));
                client.diffs().apply(ApplyRequest { diff, mounts, ..ApplyRequest::default() }).await.reply()?;
            }
            let request = CreateContainerRequest { container: Some(container) };
            let reply = client.containers().create(request).await.reply()?;
            reply.container.ok_or_else(|| Error::internal("the daemon's answer has no container"))
        };
        let created = created.await;
        if created.is_err() {
            // What failed is what gets reported.
            let _ = client.snapshots().remove(RemoveSnapshotRequest { snapshotter, key }).await;
        }
        created
    }
}

/// An `Any` that was stored as a blob.
async fn read(client: &Client, part: &Descriptor) -> Result<Any> {
    let bytes = client.read_small(part).await?;
    Any::decode(bytes.as_slice())
        .map_err(|error| Error::invalid_argument(format!("content {} is broken", part.digest)).caused_by(error))
}
