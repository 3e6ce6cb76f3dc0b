//! One blob on its way into a namespace, and those who wait for it.

use super::{Shared, Stage, Want, network, write};
use crate::tasks::blocking;
use model::{Error, Kind, Result, Scope};
use std::{
    fs::File,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
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

/// A blob on its way into one namespace. It goes on as long as anybody has a [`Ticket`]; then it stops, leaving a
/// resumable ingest.
#[derive(Debug)]
pub(crate) struct Flight {
    registry: String,
    stage: watch::Receiver<Stage>,
    leases: Arc<Leases>,
    /// Whether what it brought was collected before all who have a ticket held it.
    lost: AtomicBool,
    task: AbortHandle,
}

/// The leases of those on board, all of the flight's namespace: what arrives must belong to one that is still there.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<Vec<Option<String>>>);

impl Leases {
    /// `scope` with the lease of whoever is on board longest.
    pub(super) fn scope(&self, scope: &Scope) -> Scope {
        let lease = self.0.lock().unwrap_or_else(PoisonError::into_inner).first().cloned().flatten();
        Scope { lease, ..scope.clone() }
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
    /// Begins one, once `elsewhere` is over: the same blob on its way from the same registry into another namespace,
    /// which ours may then share.
    pub(super) fn begin(shared: Arc<Shared>, want: Want, elsewhere: Option<Arc<Self>>) -> Arc<Self> {
        let (sender, stage) = watch::channel(Stage::Waiting);
        let leases = Arc::new(Leases::default());
        leases.add(want.scope.lease.clone());
        let registry = want.repository.registry().to_owned();
        let aboard = Arc::clone(&leases);
        let task = tokio::spawn(async move {
            if let Some(flight) = elsewhere {
                flight.over(&sender).await;
            }
            let outcome = bring(&shared, &want, &sender, &aboard).await;
            sender.send_replace(match outcome {
                Ok(fetched) => Stage::Done(fetched),
                Err(error) => Stage::Failed(Arc::new(error)),
            });
        });
        Arc::new(Self { registry, stage, leases, lost: AtomicBool::new(false), task: task.abort_handle() })
    }

    /// Whether one more may join.
    pub(super) fn takes(&self) -> bool {
        match &*self.stage.borrow() {
            Stage::Waiting | Stage::Growing(..) => true,
            Stage::Done(_) => !self.lost.load(Ordering::Relaxed),
            Stage::Failed(_) => false,
        }
    }

    /// Whether it is under way from `registry`.
    pub(super) fn comes_from(&self, registry: &str) -> bool {
        self.registry == registry && matches!(&*self.stage.borrow(), Stage::Waiting | Stage::Growing(..))
    }

    /// Waits until it is over, however it ends, and shows how far it is.
    async fn over(&self, shown: &watch::Sender<Stage>) {
        let mut stage = self.stage.clone();
        loop {
            let bytes = match &*stage.borrow_and_update() {
                Stage::Done(_) | Stage::Failed(_) => return,
                Stage::Growing(_, bytes) => Some(*bytes),
                Stage::Waiting => None,
            };
            if let Some(bytes) = bytes {
                // Its file is not ours.
                shown.send_replace(Stage::Growing(None, bytes));
            }
            if stage.changed().await.is_err() {
                return;
            }
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
    /// A place on `flight`, which `want` began, or `shares` with whoever did.
    pub(super) fn new(store: Store, flight: Arc<Flight>, want: Want, shares: bool) -> Self {
        if shares {
            flight.leases.add(want.scope.lease.clone());
        }
        let stage = flight.stage.clone();
        Self { store, flight, want, stage, shares }
    }

    /// Whether another flight may succeed where [`Ticket::done`] failed with `error`: this one was somebody else's,
    /// bytes of an earlier attempt turned out wrong, or what it brought was collected before we held it.
    pub(crate) fn may_go_better(&self, error: &Error) -> bool {
        error.kind() == Kind::Aborted || self.shares && matches!(&*self.stage.borrow(), Stage::Failed(_))
    }

    /// What comes in, for one who reads it meanwhile.
    pub(crate) fn incoming(&self) -> Incoming {
        Incoming { registry: self.flight.registry.clone(), stage: self.flight.stage.clone() }
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
            self.hold().await?;
        }
        Ok(fetched)
    }

    async fn changed(&mut self) -> Result<()> {
        let blob = &self.want.blob.digest;
        self.stage.changed().await.map_err(|_| Error::internal(format!("fetching {blob} ended without an outcome")))
    }

    /// What somebody else's flight brought is held by our lease too.
    ///
    /// # Errors
    /// `Aborted` if it is gone already: theirs has ended.
    async fn hold(&self) -> Result<()> {
        let (store, want) = (self.store.clone(), self.want.clone());
        match open(&store, &want, &want.scope).await? {
            None => blocking(move || want.source.append(&store, &want.scope, &want.blob.digest)).await,
            Some(writer) => {
                self.flight.lost.store(true, Ordering::Relaxed);
                blocking(move || {
                    drop(writer);
                    Err(Error::aborted(format!("content {} was collected as soon as it had come", want.blob.digest)))
                })
                .await
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.flight.leases.remove(self.want.scope.lease.as_ref());
    }
}

/// The bytes of a [`Flight`].
#[derive(Debug)]
pub(crate) struct Incoming {
    /// Where they come from.
    pub(crate) registry: String,
    /// How far they are.
    pub(super) stage: watch::Receiver<Stage>,
}

impl Incoming {
    /// Waits until there is a file that grows: never, if the flight is over before.
    pub(super) async fn file(&mut self) -> Arc<File> {
        loop {
            if let Stage::Growing(Some(file), _) = &*self.stage.borrow_and_update() {
                return Arc::clone(file);
            }
            if self.stage.changed().await.is_err() {
                return std::future::pending().await;
            }
        }
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
    let Some(writer) = open(&shared.store, want, &leases.scope(&want.scope)).await? else {
        let (store, want) = (shared.store.clone(), want.clone());
        blocking(move || want.source.append(&store, &want.scope, &want.blob.digest)).await?;
        return Ok(Fetched::Existed);
    };
    // The size, if another namespace has it.
    let resumed = writer.status().offset;
    if resumed > 0 {
        tracing::debug!(digest = %blob.digest, offset = resumed, "resuming a fetch");
    }
    let (chunks, received) = mpsc::channel(CHUNKS);
    let writing = write::Writing {
        store: shared.store.clone(),
        want: want.clone(),
        writer,
        received,
        stage: stage.clone(),
        leases: Arc::clone(leases),
        file: None,
        resumed,
        bytes: resumed,
    };
    // A task of its own: it ends when there are no more chunks, also if we are stopped.
    let writing = tokio::spawn(writing.run());
    let sent = if resumed == blob.size { Ok(()) } else { receive(shared, want, resumed, &chunks).await };
    drop(chunks);
    let written =
        writing.await.map_err(|error| Error::internal("the writer of a blob ended early").caused_by(error))?;
    match (sent, written) {
        // That the disk refuses shows at the network as a writer that is gone.
        (Err(error), Err(other)) if error.kind() == Kind::Aborted => Err(other),
        (Err(error), _) | (Ok(()), Err(error)) => Err(error),
        (Ok(()), Ok(())) => Ok(Fetched::New),
    }
}

/// Receives the bytes from `offset` on, when it is their turn.
async fn receive(shared: &Shared, want: &Want, offset: u64, chunks: &mpsc::Sender<bytes::Bytes>) -> Result<()> {
    let _turn = network::turn(shared, want).await?;
    network::send(shared, want, offset, chunks).await
}

/// The ingest of `want` in `scope`, once nobody else writes it; `None` if the blob is there, and held.
async fn open(store: &Store, want: &Want, scope: &Scope) -> Result<Option<ContentWriter>> {
    let options = WriterOptions {
        reference: client::oci::reference_key(&want.blob),
        total: want.blob.size,
        expected: Some(want.blob.digest.clone()),
        media_type: want.blob.media_type.clone(),
        kept: true,
    };
    let mut wait = FIRST;
    loop {
        let (store, scope, options) = (store.clone(), scope.clone(), options.clone());
        match blocking(move || store.open_writer(&scope, &options)).await {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transfer::fetch::{Fetches, SourceLabel};
    use client::oci::Descriptor;
    use distribution::{Anonymous, Credentials, Hosts, Limits, Repository};
    use model::{Labels, Namespace};

    #[tokio::test(flavor = "multi_thread")]
    async fn what_is_collected_before_it_is_held_is_brought_anew() {
        let (_root, store) = crate::transfer::tests::store();
        let scope = Scope::new(Namespace::new("default").unwrap());
        let bytes = b"a layer";
        let blob = Descriptor { digest: client::oci::sha256(bytes), size: bytes.len() as u64, ..Descriptor::default() };
        let options = WriterOptions { reference: "ref".to_owned(), ..WriterOptions::default() };
        let mut writer = store.open_writer(&scope, &options).unwrap();
        writer.write(bytes).unwrap();
        writer.commit(0, Some(&blob.digest), Labels::new()).unwrap();
        let credentials: Arc<dyn Credentials> = Arc::new(Anonymous);
        let repository = Repository::open("127.0.0.1:1", "app", &Hosts::default(), &credentials, Limits::default());
        let repository = Arc::new(repository.unwrap());
        let source = SourceLabel::of(&repository);
        let want = Want { repository, scope: scope.clone(), blob, source };

        let fetches = Fetches::new(store.clone(), 0, 0);
        let mut first = fetches.join(want.clone());
        assert_eq!(first.done(|_| {}).await.unwrap(), Fetched::Existed);
        let mut second = fetches.join(want.clone());
        assert!(Arc::ptr_eq(&first.flight, &second.flight));
        store.delete_blob(&scope, &want.blob.digest).unwrap();
        let error = second.done(|_| {}).await.unwrap_err();
        assert!(second.may_go_better(&error), "{error}");
        let third = fetches.join(want);
        assert!(!Arc::ptr_eq(&first.flight, &third.flight));
    }
}
