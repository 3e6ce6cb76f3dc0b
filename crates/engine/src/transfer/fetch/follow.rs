//! A blob read while it is still being written, for a thread that may block.

use super::{Growth, Stage, flight::Incoming, turns::Turn, turns::Turns};
use model::{Error, Result};
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    sync::Arc,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore, watch},
};

/// Stops the threads that work for a transfer when it is dropped.
#[derive(Debug)]
pub(crate) struct Stopper(watch::Sender<()>);

/// Tells such a thread that it is to stop.
#[derive(Clone, Debug)]
pub(crate) struct Stop(watch::Receiver<()>);

impl Stopper {
    pub(crate) fn new() -> Self {
        Self(watch::channel(()).0)
    }

    pub(crate) fn watch(&self) -> Stop {
        Stop(self.0.subscribe())
    }
}

impl Stop {
    /// Whether the transfer is gone.
    pub(crate) fn is_set(&self) -> bool {
        self.0.has_changed().is_err()
    }

    /// Waits until it is.
    async fn set(&mut self) -> io::Error {
        while self.0.changed().await.is_ok() {}
        stopped()
    }
}

/// The right to work on a blob: for as long as there is something to work on.
#[derive(Debug)]
pub(crate) struct Permit {
    all: Arc<Semaphore>,
    held: Option<OwnedSemaphorePermit>,
}

impl Permit {
    /// Waits for one of `all`.
    pub(crate) async fn take(all: Arc<Semaphore>) -> Result<Self> {
        let held = Arc::clone(&all).acquire_owned().await;
        let held = held.map_err(|_| Error::cancelled("unpacking was stopped"))?;
        Ok(Self { all, held: Some(held) })
    }
}

/// What a [`Follower`] reads.
#[derive(Debug)]
pub(crate) struct Bytes {
    file: Arc<File>,
    /// How they grow, and the place of whoever follows; `None` if they are whole.
    growing: Option<(Growth, Turn)>,
}

impl Bytes {
    /// Those of a blob that is there.
    pub(crate) fn whole(file: File) -> Self {
        Self { file: Arc::new(file), growing: None }
    }

    /// Waits until those of `incoming` can be followed in one of `places`: never, if they are whole before.
    ///
    /// # Errors
    /// `Cancelled` when there are no places any more.
    pub(crate) async fn growing(mut incoming: Incoming, places: &Turns) -> Result<Self> {
        let file = incoming.file().await;
        let place = places.take(&incoming.registry).await?;
        Ok(Self { file, growing: Some((incoming.stage, place)) })
    }
}

/// Reads a blob from its begin, waiting where it is not there yet.
pub(crate) struct Follower<F> {
    bytes: Bytes,
    position: u64,
    permit: Permit,
    stop: Stop,
    runtime: Handle,
    /// Hears the position after each read.
    on_bytes: F,
}

impl<F> Follower<F> {
    /// Follows `bytes`, with `permit` while there are any to be read; must be made in a runtime.
    pub(crate) fn new(bytes: Bytes, permit: Permit, stop: Stop, on_bytes: F) -> Self {
        Self { bytes, position: 0, permit, stop, runtime: Handle::current(), on_bytes }
    }

    /// Waits until there is more than was read, or all of it is there.
    fn wait(&mut self) -> io::Result<()> {
        let Some((growth, _)) = &mut self.bytes.growing else { return Ok(()) };
        let Permit { all, held } = &mut self.permit;
        loop {
            match &*growth.borrow_and_update() {
                Stage::Growing(_, bytes) if *bytes > self.position => break,
                Stage::Done(_) => break,
                Stage::Failed(error) => return Err(io::Error::other(error.to_string())),
                Stage::Waiting | Stage::Growing(..) => {}
            }
            // A registry may take its time; others have something to work on.
            *held = None;
            self.runtime.block_on(async {
                tokio::select! {
                    changed = growth.changed() => changed.map_err(|_| io::Error::other("the fetch ended")),
                    stopped = self.stop.set() => Err(stopped),
                }
            })?;
        }
        if held.is_none() {
            let again = self.runtime.block_on(async {
                tokio::select! {
                    permit = Arc::clone(all).acquire_owned() => permit.map_err(io::Error::other),
                    stopped = self.stop.set() => Err(stopped),
                }
            });
            *held = Some(again?);
        }
        Ok(())
    }
}

impl<F: Fn(u64)> Read for Follower<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_set() {
            return Err(stopped());
        }
        let mut read = self.bytes.file.read_at(buffer, self.position)?;
        if read == 0 && self.bytes.growing.is_some() {
            self.wait()?;
            read = self.bytes.file.read_at(buffer, self.position)?;
        }
        self.position += read as u64;
        (self.on_bytes)(self.position);
        Ok(read)
    }
}

fn stopped() -> io::Error {
    io::Error::other("the transfer was stopped")
}
