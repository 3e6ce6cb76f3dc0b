//! One blob on its way, and those who wait for it.

use super::{Shared, Stage, Want, network, write};
use crate::tasks::blocking;
use model::{Error, Kind, Namespace, Result};
use std::{
    fs::File,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use store::{ContentWriter, Store, WriterOptions};
use tokio::{
    sync::{mpsc, watch},
    task::AbortHandle,
};

/// First wait for an ingest that somebody else writes; it doubles up to [`LONGEST`], as in containerd's client.
const FIRST: Duration = Duration::from_millis(50);
const LONGEST: Duration = Duration::from_secs(2);
/// Chunks between the network and the disk. They have at most 400 KiB each (hyper's largest buffer).
const CHUNKS: usize = 4;

/// How a blob came to be there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fetched {
    /// It was there already.
    Existed,
    /// It has come.
    New,
}

/// A blob on its way. It goes on as long as anybody has a [`Ticket`]; then it stops, leaving a resumable ingest.
#[derive(Debug)]
pub(crate) struct Flight {
    namespace: Namespace,
    stage: watch::Receiver<Stage>,
    leases: Arc<Leases>,
    task: AbortHandle,
}

/// The leases of those on board: what arrives must belong to one that is still there.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Vec<Option<String>>>);

impl Leases {
    pub(super) fn any(&self) -> Option<String> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).first().cloned().flatten()
    }

    fn add(&self, lease: Option<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(lease);
    }

    fn remove(&self, lease: Option<&String>) {
        let mut leases = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = leases.iter().position(|known| known.as_ref() == lease) {
            leases.remove(at);
        }
    }
}

impl Flight {
    pub(super) fn begin(shared: Arc<Shared>, want: Want) -> Arc<Self> {
        let (sender, stage) = watch::channel(Stage::Waiting);
        let leases = Arc::new(Leases::default());
        let namespace = want.scope.namespace.clone();
        let aboard = Arc::clone(&leases);
        let task = tokio::spawn(async move {
            let outcome = bring(&shared, &want, &sender, &aboard).await;
            sender.send_replace(match outcome {
                Ok(fetched) => Stage::Done(fetched),
                Err(error) => Stage::Failed(Arc::new(error)),
            });
        });
        Arc::new(Self { namespace, stage, leases, task: task.abort_handle() })
    }

    /// Whether one more may join.
    pub(super) fn takes(&self, want: &Want) -> bool {
        match &*self.stage.borrow() {
            Stage::Waiting | Stage::Growing(..) => true,
            // Another namespace could only take what is there, which a flight of its own finds out as well.
            Stage::Done(_) => self.namespace == want.scope.namespace,
            Stage::Failed(_) => false,
        }
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A place on a [`Flight`].
#[derive(Debug)]
pub(crate) struct Ticket {
    store: Store,
    flight: Arc<Flight>,
    want: Want,
    stage: watch::Receiver<Stage>,
    shares: bool,
}

impl Ticket {
    pub(super) fn new(store: Store, flight: Arc<Flight>, want: Want, shares: bool) -> Self {
        flight.leases.add(want.scope.lease.clone());
        let stage = flight.stage.clone();
        Self { store, flight, want, stage, shares }
    }

    /// Whether a flight of our own may succeed where this one failed with `error`: it was somebody else's, or bytes
    /// of an earlier attempt turned out wrong.
    pub(crate) fn may_go_better(&self, error: &Error) -> bool {
        self.incoming().failure().is_some() && (self.shares || error.kind() == Kind::Aborted)
    }

    /// What comes in, for one who reads it meanwhile.
    pub(crate) fn incoming(&self) -> Incoming {
        Incoming(self.flight.stage.clone())
    }

    /// Waits until the blob is in the store, held by our lease. `on_bytes` hears how many bytes there are.
    ///
    /// # Errors
    /// The flight's and the store's.
    pub(crate) async fn done(&mut self, on_bytes: impl Fn(u64)) -> Result<Fetched> {
        let fetched = loop {
            match &*self.stage.borrow_and_update() {
                Stage::Done(fetched) => break *fetched,
                Stage::Failed(error) => return Err(again(error)),
                Stage::Growing(_, bytes) => on_bytes(*bytes),
                Stage::Waiting => {}
            }
            self.changed().await?;
        };
        if self.shares {
            self.adopt().await?;
        }
        if self.shares || fetched == Fetched::Existed {
            let (store, want) = (self.store.clone(), self.want.clone());
            blocking(move || want.source.append(&store, &want.scope, &want.blob.digest)).await?;
        }
        Ok(fetched)
    }

    async fn changed(&mut self) -> Result<()> {
        let blob = &self.want.blob.digest;
        self.stage.changed().await.map_err(|_| Error::internal(format!("fetching {blob} ended without an outcome")))
    }

    /// What somebody else's flight brought becomes ours too.
    async fn adopt(&self) -> Result<()> {
        match open(&self.store, &self.want).await? {
            None => Ok(()),
            Some(writer) if writer.status().offset == self.want.blob.size => {
                let (digest, size, labels) =
                    (self.want.blob.digest.clone(), self.want.blob.size, self.want.source.labels());
                match blocking(move || writer.commit(size, Some(&digest), labels)).await {
                    Err(error) if !error.is_already_exists() => Err(error),
                    _ => Ok(()),
                }
            }
            // Namespaces that do not share: it has to come again, for us.
            Some(_) => Err(Error::aborted(format!("content {} belongs to another namespace", self.want.blob.digest))),
        }
    }
}

/// The bytes of a [`Flight`].
#[derive(Debug)]
pub(crate) struct Incoming(watch::Receiver<Stage>);

impl Incoming {
    /// Waits until there is a file to follow, or the blob is there: then `None`.
    ///
    /// # Errors
    /// The flight's.
    pub(crate) async fn readable(&mut self) -> Result<Option<(Arc<File>, watch::Receiver<Stage>)>> {
        loop {
            let stage = self.0.borrow_and_update().clone();
            match stage {
                Stage::Growing(Some(file), _) => return Ok(Some((file, self.0.clone()))),
                Stage::Done(_) => return Ok(None),
                Stage::Failed(error) => return Err(again(&error)),
                Stage::Waiting | Stage::Growing(None, _) => {}
            }
            self.0.changed().await.map_err(|_| Error::internal("fetching a blob ended without an outcome"))?;
        }
    }

    /// Why the flight failed, if it did.
    pub(crate) fn failure(&self) -> Option<Error> {
        match &*self.0.borrow() {
            Stage::Failed(error) => Some(again(error)),
            _ => None,
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.flight.leases.remove(self.want.scope.lease.as_ref());
    }
}

/// The same error for one more.
fn again(error: &Error) -> Error {
    Error::new(error.kind(), error.to_string())
}

/// Brings the blob.
async fn bring(shared: &Shared, want: &Want, stage: &watch::Sender<Stage>, leases: &Arc<Leases>) -> Result<Fetched> {
    let blob = &want.blob;
    if blob.size == 0 {
        return Err(Error::invalid_argument(format!("content {} has a size of zero", blob.digest)));
    }
    let Some(writer) = open(&shared.store, want).await? else { return Ok(Fetched::Existed) };
    let resumed = writer.status().offset;
    if resumed > 0 {
        tracing::debug!(digest = %blob.digest, offset = resumed, "resuming a fetch");
    }
    // Before there is a thread that waits for bytes: those are few, and must not all belong to blobs in the queue.
    let turn = network::turn(shared, want).await?;
    let (chunks, received) = mpsc::channel(CHUNKS);
    let writing = {
        let (store, want, stage, leases) = (shared.store.clone(), want.clone(), stage.clone(), Arc::clone(leases));
        tokio::task::spawn_blocking(move || write::write(&store, &want, writer, received, &stage, &leases))
    };
    let sent = if resumed == blob.size { Ok(()) } else { network::send(shared, want, resumed, &chunks).await };
    drop((chunks, turn));
    let written =
        writing.await.map_err(|error| Error::internal("the writer of a blob ended early").caused_by(error))?;
    match (sent, written) {
        // That the disk refuses shows at the network as a writer that is gone.
        (Err(error), Err(other)) if error.kind() == Kind::Aborted => Err(other),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(Fetched::New),
    }
}

/// The ingest of `want`, once nobody else writes it; `None` if the blob is there.
async fn open(store: &Store, want: &Want) -> Result<Option<ContentWriter>> {
    let options = WriterOptions {
        reference: client::oci::reference_key(&want.blob),
        total: want.blob.size,
        expected: Some(want.blob.digest.clone()),
        media_type: want.blob.media_type.clone(),
        kept: true,
    };
    let mut wait = FIRST;
    loop {
        let (store, scope, options) = (store.clone(), want.scope.clone(), options.clone());
        match blocking(move || store.open_writer(&scope, options)).await {
            Ok(writer) => return Ok(Some(writer)),
            Err(error) if error.is_already_exists() => return Ok(None),
            Err(error) if error.kind() == Kind::Unavailable => {
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST);
            }
            Err(error) => return Err(error),
        }
    }
}
