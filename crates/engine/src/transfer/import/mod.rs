//! Stream to store: the images of a tar archive.
//!
//! ```text
//! stream ─► decompress ─► tar ─┬─ large files ─► blobs, as they come ──────────┐
//!                              └─ documents ─► memory ─► index ─► what counts ─┴─► snapshots ─► image records
//! ```
//! One thread reads. A blob that is complete is synced by another while the next one is read; what counts of the
//! documents is known at the end only, as most archives have their index there. Everything is held by the lease.

mod docker;
mod input;
mod keep;
mod plan;
mod read;

pub(super) use keep::Keeper;

use super::{ImageStore, ImportStream, ProgressSink, Tracker, Transfers, image_store::REF_SOURCE, unpack::Job};
use crate::tasks::blocking;
use client::oci::Descriptor;
use model::{Result, Scope};
use plan::{Plan, Unpackable};
use std::sync::Arc;
use tokio::runtime::Handle;

/// What errors call the archive.
const WHAT: &str = "the archive";

impl Transfers {
    /// Brings the images of `from` into the store, unpacks them and gives them the names of `to`.
    ///
    /// # Errors
    /// `InvalidArgument` for something that is no image archive, `NotFound` for a blob that it lacks; else the
    /// verifiers' or the store's.
    pub(super) async fn import(
        &self,
        scope: &Scope,
        from: ImportStream,
        to: ImageStore,
        progress: &ProgressSink,
    ) -> Result<()> {
        progress.say("Importing");
        self.config.check_wishes(&to.unpacks)?;
        let keeper = Keeper { store: self.store.clone(), scope: scope.clone() };
        let runtime = Handle::current();
        let work = move || {
            let archive = read::read(from.input, from.media_type.is_empty(), &keeper, &runtime)?;
            // Lookups block, which this thread may.
            let plan = runtime.block_on(Plan::new(&archive, &keeper, &to, from.force_compress))?;
            plan.keep_documents(&keeper, &runtime)?;
            Ok((to, plan))
        };
        let (to, plan) = self.threads.run("import", work).await?;
        let named = records(&plan, &to);
        for (store, target) in &named {
            let mut shown = target.clone();
            shown.annotations.remove(REF_SOURCE);
            for (name, _) in store.records(target)? {
                self.verify("import", &name, &shown).await?;
            }
        }
        let tracker = Arc::new(Tracker::new(progress, &to.name, "importing"));
        for image in &plan.images {
            self.unpack_stored(scope, image, &to, &tracker).await?;
        }
        drop(tracker);
        let (keeper, progress) = (Keeper { store: self.store.clone(), scope: scope.clone() }, progress.clone());
        blocking(move || {
            for (store, target) in named {
                match store.save(&keeper.store, &keeper.scope, &target) {
                    Ok(images) => images.iter().for_each(|image| progress.about("saved", &image.name, &target)),
                    // It has no name: kept as part of another image, or not at all.
                    Err(error) if error.is_not_found() => {
                        tracing::info!(digest = %target.digest, "no image is named after it");
                    }
                    Err(error) => return Err(error),
                }
            }
            progress.say("Completed import");
            Ok(())
        })
        .await
    }

    /// Makes snapshots of an image in the store, if `to` wishes it.
    async fn unpack_stored(
        &self,
        scope: &Scope,
        image: &Unpackable,
        to: &ImageStore,
        tracker: &Arc<Tracker>,
    ) -> Result<()> {
        let Some(target) = self.config.target_of(&to.unpacks, &image.image) else { return Ok(()) };
        let job = Job {
            unpacking: self.unpacking.clone(),
            store: self.store.clone(),
            scope: scope.clone(),
            target: super::unpack::Target::new(&self.store, &target.snapshotter)?,
            supply: super::unpack::Supply::Stored,
            tracker: Arc::clone(tracker),
            config: image.config.clone(),
            layers: super::unpack::pair(&image.manifest, image.layers.clone(), image.image.diff_ids()?)?,
        };
        job.run().await.map(drop)
    }
}

/// What gets names, each with how it is named: prefixes are for what the index lists, not for the index itself.
fn records(plan: &Plan, to: &ImageStore) -> Vec<(ImageStore, Descriptor)> {
    let references = to.references.iter().filter(|reference| !reference.is_prefix).cloned().collect();
    let whole = ImageStore { references, ..to.clone() };
    let by = |at| if at == 0 { whole.clone() } else { to.clone() };
    plan.named.iter().enumerate().map(|(at, target)| (by(at), target.clone())).collect()
}
