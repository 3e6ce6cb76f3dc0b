//! A blob read while it is still being written, for a thread that may block.

use super::Stage;
use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::FileExt as _,
    sync::Arc,
};
use tokio::{runtime::Handle, sync::watch};

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
}

/// Reads a blob from its begin, waiting where it is not there yet.
pub(crate) struct Follower<F> {
    file: Arc<File>,
    /// `None` for a blob that is whole.
    stage: Option<watch::Receiver<Stage>>,
    position: u64,
    stop: Stop,
    runtime: Handle,
    /// Hears the position after each read.
    on_bytes: F,
}

impl<F> Follower<F> {
    /// Follows `file`; must be made in a runtime.
    pub(crate) fn new(file: Arc<File>, stage: Option<watch::Receiver<Stage>>, stop: Stop, on_bytes: F) -> Self {
        Self { file, stage, position: 0, stop, runtime: Handle::current(), on_bytes }
    }

    /// Waits until there is more than was read, or all of it is there.
    fn wait(&mut self) -> io::Result<()> {
        let Some(stage) = &mut self.stage else { return Ok(()) };
        loop {
            match &*stage.borrow_and_update() {
                Stage::Growing(_, bytes) if *bytes > self.position => return Ok(()),
                Stage::Done(_) => return Ok(()),
                Stage::Failed(error) => return Err(io::Error::other(error.to_string())),
                Stage::Waiting | Stage::Growing(..) => {}
            }
            let stop = &mut self.stop.0;
            self.runtime.block_on(async {
                tokio::select! {
                    changed = stage.changed() => changed.map_err(|_| io::Error::other("the fetch ended")),
                    _ = stop.changed() => Err(stopped()),
                }
            })?;
        }
    }
}

impl<F: Fn(u64)> Read for Follower<F> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.stop.is_set() {
            return Err(stopped());
        }
        let mut read = self.file.read_at(buffer, self.position)?;
        if read == 0 && self.stage.is_some() {
            self.wait()?;
            read = self.file.read_at(buffer, self.position)?;
        }
        self.position += read as u64;
        (self.on_bytes)(self.position);
        Ok(read)
    }
}

fn stopped() -> io::Error {
    io::Error::other("the transfer was stopped")
}
