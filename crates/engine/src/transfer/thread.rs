//! Threads that wait for a client's stream.
//!
//! A client may take as long as it likes to read or write an archive. The threads of the runtime's pool are for the
//! disk, and everybody needs them; so archives have their own, and a bounded number of them.

use model::{Error, Result};
use std::sync::Arc;
use tokio::sync::{Semaphore, oneshot};

/// Most archives on their way in or out at once; others wait for their turn.
const MOST: usize = 32;

/// Turns to have a thread. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Threads(Arc<Semaphore>);

impl Threads {
    pub(super) fn new() -> Self {
        Self(Arc::new(Semaphore::new(MOST)))
    }

    /// Does `work` on a thread called `name`. If the future is dropped the work goes on until its stream, which ends
    /// with the request, tells it to stop; it keeps its turn until then.
    ///
    /// # Errors
    /// Those of the work; `ResourceExhausted` if there is no thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        name: &str,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let permit = permit.map_err(|_| Error::cancelled("transfers have ended"))?;
        let (answer, answered) = oneshot::channel();
        let body = move || {
            // Whoever asked may have gone.
            let _ = answer.send(work());
            drop(permit);
        };
        std::thread::Builder::new().name(name.to_owned()).spawn(body).map_err(|error| {
            Error::new(model::Kind::ResourceExhausted, format!("start a thread for an {name}")).caused_by(error)
        })?;
        answered.await.unwrap_or_else(|_| Err(Error::internal(format!("the thread of an {name} ended early"))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_waits_takes_a_turn_each() {
        let threads = Threads(Arc::new(Semaphore::new(1)));
        let (go, gone) = std::sync::mpsc::channel::<()>();
        let waiting = threads.run("import", move || Ok(gone.recv().is_ok()));
        let second = threads.run("export", || Ok(2));
        let both = async { tokio::join!(waiting, second) };
        let release = async {
            tokio::task::yield_now().await;
            go.send(()).unwrap();
        };
        let ((first, second), ()) = tokio::join!(both, release);
        assert_eq!((first.unwrap(), second.unwrap()), (true, 2));
        let panicked = threads.run("import", || -> Result<()> { panic!("as a test") }).await;
        assert!(panicked.unwrap_err().to_string().contains("ended early"));
        // Its turn is free again.
        assert_eq!(threads.run("export", || Ok(3)).await.unwrap(), 3);
    }
}
