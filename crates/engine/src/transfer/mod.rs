//! Images on their way: between registries, the store, and byte streams.
//!
//! ```text
//!              ┌────────── pull ─────────► │       │ ── export ──► stream
//!   registry ──┤                           │ store │
//!              └────────── push ◄───────── │       │ ◄── import ── stream
//!                                            └─┬─┘ tag
//! ```
//! A transfer has one [`Source`], one [`Destination`] and tells its [`ProgressSink`] what happens, in containerd's
//! words. It is a future: dropping it stops the transfer at once. What it wrote until then is held by its lease,
//! which goes with it, so that nothing is left but ingests, from which the next attempt resumes.

mod config;
mod documents;
mod export;
mod fetch;
mod image_store;
mod import;
mod lease;
mod progress;
mod pull;
mod push;
mod registry;
mod stream;
mod tag;
mod thread;
mod unpack;
mod verify;

#[cfg(test)]
mod tests;

pub use client::oci::Platform;
pub use config::{TransferConfig, UnpackTarget};
pub use image_store::{ImageStore, Reference, Unpack};
pub use lease::under_lease;
pub use progress::{Progress, ProgressSink, Tracker};
pub use registry::{HttpDebug, Registry};
pub use stream::{ByteFeed, ByteInput, ByteOutput, ExportStream, ImportStream};
pub use verify::Verifiers;

use distribution::{Rests, Uploads};
use fetch::Fetches;
use model::{Error, Result, Scope};
use std::sync::Arc;
use store::Store;
use thread::Threads;
use unpack::Unpacking;

/// Carries out transfers. Cheap to clone; every clone shares its limits.
#[derive(Clone, Debug)]
pub struct Transfers {
    store: Store,
    config: Arc<TransferConfig>,
    fetches: Fetches,
    unpacking: Unpacking,
    /// Archives being read or written.
    threads: Threads,
    /// Blobs being pushed.
    uploads: Uploads,
    /// Mirrors that are down.
    rests: Rests,
}

impl Transfers {
    /// Transfers to and from `store`.
    pub fn new(store: Store, config: TransferConfig) -> Self {
        let unpacks = match config.max_concurrent_unpacks {
            1 => 0,
            unpacks => unpacks,
        };
        Self {
            fetches: Fetches::new(store.clone(), config.max_concurrent_downloads, config.layer_fetch_buffer),
            unpacking: Unpacking::new(unpacks, Arc::clone(&config.processors), config.sync_fs),
            threads: Threads::new(),
            uploads: Uploads::new(config.max_concurrent_uploads),
            rests: Rests::default(),
            store,
            config: Arc::new(config),
        }
    }

    /// Transfers from `source` to `destination`. Everything it writes is durable before it returns.
    ///
    /// # Errors
    /// `Unimplemented` for two ends that do not fit together; else those of the work itself.
    pub async fn transfer(
        &self,
        scope: &Scope,
        source: Source,
        destination: Destination,
        progress: &ProgressSink,
    ) -> Result<()> {
        under_lease(&self.store, scope, async |scope| match (source, destination) {
            (Source::Registry(from), Destination::Store(to)) => self.pull(&scope, &from, to, progress).await,
            (Source::Store(from), Destination::Registry(to)) => self.push(&scope, &from, &to, progress).await,
            (Source::Store(from), Destination::Store(to)) => self.tag(&scope, &from, to, progress).await,
            (Source::Import(from), Destination::Store(to)) => self.import(&scope, from, to, progress).await,
            (Source::Store(from), Destination::Export(to)) => self.export(&scope, &from, to, progress).await,
            (source, destination) => Err(Error::unimplemented(format!(
                "unable to transfer from {} to {}",
                source.what(),
                destination.what()
            ))),
        })
        .await
    }
}

/// Where a transfer takes from.
#[derive(Debug)]
pub enum Source {
    /// A registry.
    Registry(Registry),
    /// An image of the store; `name` says which.
    Store(ImageStore),
    /// A tar archive.
    Import(ImportStream),
}

/// Where a transfer leads to.
#[derive(Debug)]
pub enum Destination {
    /// A registry.
    Registry(Registry),
    /// The store.
    Store(ImageStore),
    /// A tar archive.
    Export(ExportStream),
}

impl Source {
    /// What containerd's errors and events call it.
    pub fn what(&self) -> String {
        match self {
            Self::Registry(registry) => registry.what(),
            Self::Store(store) => store.what(),
            Self::Import(_) => "*archive.ImageImportStream".to_owned(),
        }
    }
}

impl Destination {
    /// What containerd's errors and events call it.
    pub fn what(&self) -> String {
        match self {
            Self::Registry(registry) => registry.what(),
            Self::Store(store) => store.what(),
            Self::Export(_) => "*archive.ImageExportStream".to_owned(),
        }
    }
}
