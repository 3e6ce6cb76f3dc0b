//! `ctr snapshots diff`

use super::Target;
use crate::context::rfc3339_in;
use crate::failure::Outcome;
use crate::flags::labels;
use crate::output::written;
use clap::Args;
use client::oci::media_types;
use client::{Client, Reply as _, descriptor_from_wire, unique_part};
use model::{Error, Result};
use proto::api::containerd::services::diff::v1::DiffRequest;
use proto::api::containerd::services::snapshots::v1::{
    Kind, MountsRequest, RemoveSnapshotRequest, ViewSnapshotRequest,
};
use proto::api::containerd::types::Mount;
use std::io::Write as _;
use std::time::Duration;

/// Flags of `ctr snapshots diff`.
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Media type to use for creating diff
    #[arg(long, default_value = media_types::LAYER_GZIP, value_name = "TYPE")]
    media_type: String,
    /// Content upload reference to use
    #[arg(long, value_name = "REF")]
    r#ref: Option<String>,
    /// Keep diff content. up to creator to delete it.
    #[arg(long)]
    keep: bool,
    /// Labels to attach to the content
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// The snapshot
    #[arg(value_name = "ID_A")]
    first: String,
    /// What it is compared with (its parent, if not given)
    #[arg(value_name = "ID_B")]
    second: Option<String>,
}

impl Diff {
    pub(super) async fn run(self, target: &Target) -> Outcome {
        let diff = async |client: Client| {
            let (lower, upper) = match &self.second {
                // With two snapshots the first is the lower one.
                Some(second) => (self.first.clone(), second.clone()),
                None => {
                    let info = client.snapshot_info(&target.snapshotter, &self.first).await?;
                    (info.parent, self.first.clone())
                }
            };
            let lower = View::open(&client, &target.snapshotter, &lower).await?;
            let made = match View::open(&client, &target.snapshotter, &upper).await {
                Ok(upper) => {
                    let made = self.make(&client, &lower.mounts, &upper.mounts).await;
                    upper.close(&client, &target.snapshotter).await;
                    made
                }
                Err(error) => Err(error),
            };
            lower.close(&client, &target.snapshotter).await;
            let digest = descriptor_from_wire(made?)?.digest;
            // Read under the lease: without --keep it is collected afterwards.
            Ok(print(&client, &digest).await)
        };
        target.client.under_lease(diff).await?
    }

    async fn make(
        &self,
        client: &Client,
        left: &[Mount],
        right: &[Mount],
    ) -> Result<proto::api::containerd::types::Descriptor> {
        let mut labels = labels(&self.label);
        if self.keep {
            labels.insert("containerd.io/gc.root".into(), rfc3339_in(Duration::ZERO));
        }
        let request = DiffRequest {
            left: left.to_vec(),
            right: right.to_vec(),
            media_type: self.media_type.clone(),
            r#ref: self.r#ref.clone().unwrap_or_default(),
            labels,
            source_date_epoch: client.source_date_epoch(),
        };
        let reply = client.diffs().diff(request).await.reply()?;
        reply.diff.ok_or_else(|| Error::internal("the daemon's answer has no diff"))
    }
}

/// Mounts of a snapshot, and the view made for them, if one was needed.
pub(crate) struct View {
    mounts: Vec<Mount>,
    key: Option<String>,
}

impl View {
    /// Opens snapshot `name`; none without a name.
    pub(crate) async fn open(client: &Client, snapshotter: &str, name: &str) -> Result<Self> {
        if name.is_empty() {
            return Ok(Self { mounts: Vec::new(), key: None });
        }
        let info = client.snapshot_info(snapshotter, name).await?;
        let snapshotter = snapshotter.to_owned();
        if info.kind != i32::from(Kind::Committed) {
            let request = MountsRequest { snapshotter, key: name.to_owned() };
            return Ok(Self { mounts: client.snapshots().mounts(request).await.reply()?.mounts, key: None });
        }
        let key = format!("{name}-view-{}", unique_part());
        let request =
            ViewSnapshotRequest { snapshotter, key: key.clone(), parent: name.to_owned(), labels: Default::default() };
        Ok(Self { mounts: client.snapshots().view(request).await.reply()?.mounts, key: Some(key) })
    }

    /// Where its files are.
    pub(crate) fn mounts(&self) -> &[Mount] {
        &self.mounts
    }

    /// Removes the view. The lease takes care of one that cannot be.
    pub(crate) async fn close(self, client: &Client, snapshotter: &str) {
        if let Some(key) = self.key {
            let request = RemoveSnapshotRequest { snapshotter: snapshotter.to_owned(), key };
            let _ = client.snapshots().remove(request).await;
        }
    }
}

async fn print(client: &Client, digest: &model::Digest) -> Outcome {
    let mut blob = client.read_blob(digest).await?;
    let mut stdout = std::io::stdout().lock();
    while let Some(chunk) = blob.next().await? {
        written(stdout.write_all(&chunk))?;
    }
    Ok(())
}
