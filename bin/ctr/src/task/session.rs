//! A process in the foreground: started, attended until its end, removed.

use super::console::Console;
use super::copy::{Copying, copy_in};
use super::pipes::{Ends, Pipes};
use super::process::Process;
use super::signals::Caught;
use crate::output;
use model::{Error, Result};

/// A created process with our ends of its pipes.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) process: Process,
    pipes: Pipes,
    ends: Ends,
}

/// What became of it.
pub(crate) enum Attached {
    /// It ended so.
    Exited(u32),
    /// We were told to go, by this signal, while a process with terminal still runs.
    Detached(u32),
}

impl Session {
    pub(crate) fn new(process: Process, pipes: Pipes, ends: Ends) -> Self {
        Self { process, pipes, ends }
    }

    /// Starts it and leaves it alone.
    pub(crate) async fn start_detached(self) -> Result<()> {
        match self.process.start().await {
            Ok(_) => {
                self.pipes.keep();
                Ok(())
            }
            Err(error) => {
                self.give_up().await;
                Err(error)
            }
        }
    }

    /// Starts it and stays with it to its end. It is not removed then, nor if it could not be started.
    pub(crate) async fn run(mut self, console: Option<&Console>) -> Result<Attached> {
        let copying = Copying::start(&mut self.ends);
        // Asked before the start: a process may be gone at once.
        let waiter = self.process.clone();
        let exit = tokio::spawn(async move { waiter.wait().await });
        if let Err(error) = self.process.start().await {
            exit.abort();
            return Err(error);
        }
        if let Some(pipe) = self.ends.stdin.take() {
            copy_in(pipe, self.process.clone());
        }
        attend(&self.process, copying, exit, console).await
    }

    /// Joins a process that runs already.
    pub(crate) async fn attach(mut self, console: Option<&Console>) -> Result<Attached> {
        let copying = Copying::start(&mut self.ends);
        let waiter = self.process.clone();
        let exit = tokio::spawn(async move { waiter.wait().await });
        if let Some(pipe) = self.ends.stdin.take() {
            copy_in(pipe, self.process.clone());
        }
        attend(&self.process, copying, exit, console).await
    }

    /// Removes a process that could not be started. Why it could not is what gets reported.
    async fn give_up(&self) {
        match self.process.kill_and_delete().await {
            Err(error) if !error.is_not_found() => output::warn(&format!("failed to cleanup task: {error}")),
            _ => {}
        }
    }
}

/// Waits for the end of a process, meanwhile passing on what is for it.
async fn attend(
    process: &Process,
    copying: Copying,
    exit: tokio::task::JoinHandle<Result<u32>>,
    console: Option<&Console>,
) -> Result<Attached> {
    let exited = async {
        let status = exit.await.map_err(|error| Error::internal("wait for the process").caused_by(error))??;
        copying.finish().await;
        Ok(Attached::Exited(status))
    };
    match console {
        Some(console) => {
            let mut fatal = Caught::fatal()?;
            tokio::select! {
                attached = exited => attached,
                signal = fatal.next() => Ok(Attached::Detached(signal)),
                Err(error) = console.follow_size(process) => Err(error),
            }
        }
        None => {
            let caught = Caught::all()?;
            tokio::pin!(exited);
            tokio::select! {
                attached = &mut exited => attached,
                () = caught.forward(process) => exited.await,
            }
        }
    }
}
