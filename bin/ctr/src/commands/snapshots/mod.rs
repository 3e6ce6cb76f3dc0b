//! `ctr snapshots`

mod commit;
mod delete;
mod diff;
mod info;
mod label;
mod list;
mod mounts;
mod prepare;
mod tree;
mod unpack;
mod usage;

pub(crate) use diff::View;

use crate::context::Context;
use crate::failure::Outcome;
use crate::flags::SnapshotterFlag;
use clap::{Args, Subcommand};
use client::{Client, Reply as _, error_of};
use model::{Mount, Result};
use proto::api::containerd::services::snapshots::v1::{Info as Snapshot, Kind, ListSnapshotsRequest};
use std::path::Path;

/// Flags of `ctr snapshots`, before the verb.
#[derive(Debug, Args)]
pub(crate) struct Snapshots {
    #[command(flatten)]
    snapshotter: SnapshotterFlag,
    #[command(subcommand)]
    verb: Verb,
}

/// What can be done.
#[derive(Debug, Subcommand)]
enum Verb {
    /// Commit an active snapshot into the provided name
    Commit(commit::Commit),
    /// Get the diff of two snapshots. the default second snapshot is the first snapshot's parent.
    Diff(diff::Diff),
    /// Get info about a snapshot
    Info(info::Info),
    /// List snapshots
    #[command(visible_alias = "ls")]
    List(list::List),
    /// Mount gets mount commands for the snapshots
    #[command(visible_aliases = ["m", "mount"])]
    Mounts(mounts::Mounts),
    /// Prepare a snapshot from a committed snapshot
    Prepare(prepare::Prepare),
    /// Remove snapshots
    #[command(visible_aliases = ["del", "remove", "rm"])]
    Delete(delete::Delete),
    /// Add labels to content
    Label(label::Label),
    /// Display tree view of snapshot branches
    Tree(tree::Tree),
    /// Unpack applies layers from a manifest to a snapshot
    Unpack(unpack::Unpack),
    /// Usage snapshots
    Usage(usage::Usage),
    /// Create a read-only snapshot from a committed snapshot
    View(prepare::View),
}

/// A connection and the snapshotter to use.
struct Target {
    client: Client,
    snapshotter: String,
}

impl Snapshots {
    pub(crate) async fn run(self, context: &Context) -> Outcome {
        let client = context.connect().await?;
        let snapshotter = client.snapshotter(self.snapshotter.name()).await?;
        let target = Target { client, snapshotter };
        match self.verb {
            Verb::Commit(verb) => verb.run(&target).await,
            Verb::Diff(verb) => Box::pin(verb.run(&target)).await,
            Verb::Info(verb) => verb.run(&target).await,
            Verb::List(verb) => verb.run(&target).await,
            Verb::Mounts(verb) => verb.run(&target).await,
            Verb::Prepare(verb) => verb.run(&target).await,
            Verb::Delete(verb) => verb.run(&target).await,
            Verb::Label(verb) => verb.run(&target).await,
            Verb::Tree(verb) => verb.run(&target).await,
            Verb::Unpack(verb) => Box::pin(verb.run(&target)).await,
            Verb::Usage(verb) => verb.run(&target).await,
            Verb::View(verb) => verb.run(&target).await,
        }
    }
}

impl Target {
    /// Every snapshot.
    async fn list(&self) -> Result<Vec<Snapshot>> {
        let request = ListSnapshotsRequest { snapshotter: self.snapshotter.clone(), filters: Vec::new() };
        let mut stream = self.client.snapshots().list(request).await.reply()?;
        let mut snapshots = Vec::new();
        while let Some(message) = stream.message().await.map_err(error_of)? {
            snapshots.extend(message.info);
        }
        Ok(snapshots)
    }
}

/// As Go prints a kind.
fn kind_name(kind: i32) -> &'static str {
    match Kind::try_from(kind) {
        Ok(Kind::View) => "View",
        Ok(Kind::Active) => "Active",
        Ok(Kind::Committed) => "Committed",
        Ok(Kind::Unknown) | Err(_) => "Unknown",
    }
}

/// The commands that would make `mounts` on `target`.
fn mount_commands(target: &str, mounts: &[Mount]) -> String {
    let command = |mount: &Mount| {
        let options = if mount.options.is_empty() { String::new() } else { format!(" -o {}", mount.options.join(",")) };
        let target = if mount.target.is_empty() {
            target.into()
        } else {
            Path::new(target).join(mount.target.trim_start_matches('/'))
        };
        format!("mount -t {} {} {}{options}\n", mount.fs_type, mount.source, target.display())
    };
    mounts.iter().map(command).collect()
}
