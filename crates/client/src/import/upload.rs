//! Storing what is wanted, and unpacking it meanwhile.

use super::archive;
use super::plan::{Plan, Wanted};
use super::stream::reference;
use super::{ImportOptions, Progress};
use crate::Client;
use crate::archive::{Archive, blob_path};
use crate::content::Expect;
use crate::progress::Event;
use crate::unpack::Ready;
use model::{Digest, Error, Kind, Result};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::watch;

/// Blobs on their way at once: the daemon syncs one while it receives another.
const PARALLEL: usize = 4;

/// Stores every blob of the plan and unpacks its images, both at the same time.
pub(super) async fn run(client: &Client, archive: &Archive, plan: &Plan, options: &ImportOptions) -> Result<()> {
    let (senders, ready): (Vec<_>, HashMap<Digest, Ready>) = plan
        .blobs
        .iter()
        .map(|wanted| {
            let (sender, ready) = watch::channel(false);
            (sender, (wanted.descriptor.digest.clone(), ready))
        })
        .unzip();
    let store = store_all(client, archive, plan, senders, options);
    let unpack = unpack_all(plan, &ready, options);
    let (stored, unpacked) = tokio::join!(store, unpack);
    match (stored, unpacked) {
        // Unpacking was given up because a blob is missing: why it is missing says more.
        (Err(cause), Err(error)) if error.kind() == Kind::Aborted => Err(cause),
        (_, Err(error)) => Err(error),
        (stored, Ok(())) => stored,
    }
}

async fn store_all(
    client: &Client,
    archive: &Archive,
    plan: &Plan,
    senders: Vec<watch::Sender<bool>>,
    options: &ImportOptions,
) -> Result<()> {
    let queue = std::sync::Mutex::new(plan.blobs.iter().zip(senders));
    let take = || queue.lock().ok().and_then(|mut queue| queue.next());
    let worker = async || {
        while let Some((wanted, sender)) = take() {
            store(client, archive, wanted, &options.progress).await?;
            // Nobody waits for most blobs.
            let _ = sender.send(true);
        }
        Ok(())
    };
    const { assert!(PARALLEL == 4, "as many workers as there are here") };
    let done = tokio::try_join!(worker(), worker(), worker(), worker());
    // Senders of what was not stored go with the queue: those who wait learn that it never will be.
    drop(queue);
    done.map(|_| ())
}

async fn store(client: &Client, archive: &Archive, wanted: &Wanted, progress: &Arc<dyn Progress>) -> Result<()> {
    let digest = &wanted.descriptor.digest;
    let Some(place) = &wanted.place else {
        // It may be in the store from before; an image without it would be broken.
        let labelled = client.label_blob(digest, wanted.labels.clone()).await;
        return labelled.map(|_| ()).map_err(|error| match error.is_not_found() {
            true => error.context(format!("{digest} is neither in {} nor in the content store", archive.what)),
            false => error,
        });
    };
    let expect =
        Expect { digest: Some(digest.clone()), size: Some(wanted.descriptor.size), labels: wanted.labels.clone() };
    progress.on(Event::Blob(digest, wanted.descriptor.size));
    let written = archive::store(place, client, &reference(&blob_path(digest)), &expect, progress).await;
    let written = written.map_err(|error| error.context(format!("import {}", archive.what)))?;
    if written.digest != *digest {
        return Err(Error::failed_precondition(format!(
            "{} in {} has the wrong content: its digest is {}",
            blob_path(digest),
            archive.what,
            written.digest
        )));
    }
    progress.on(Event::Stored(digest));
    Ok(())
}

/// One image after the other: images of one archive often share layers.
async fn unpack_all(plan: &Plan, ready: &HashMap<Digest, Ready>, options: &ImportOptions) -> Result<()> {
    let Some(unpacker) = &options.unpacker else { return Ok(()) };
    for image in &plan.unpack {
        unpacker.unpack_when_ready(image, ready).await?;
    }
    Ok(())
}
