//! When an answer in a stream has left through its connection's socket: a service that must not forget what it streams
//! before that asks here.
//!
//! Above the socket stand hyper and h2, which say nothing of it. But they work in rounds: a round of a connection begins
//! by reading and ends by flushing all that it was given by then. And a body is polled again only after what it gave
//! was handed over. So what was handed over has left at the end of the first round that began afterwards.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::watch,
};
use tokio_stream::Stream;

/// The rounds of one connection, in the extensions of its requests.
#[derive(Clone, Debug, Default)]
pub(crate) struct Rounds(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicU64,
    /// The round that ended last.
    ended: watch::Sender<u64>,
    /// Begins a round.
    connection: Mutex<Option<Waker>>,
}

impl Rounds {
    fn begun(&self) -> u64 {
        self.0.begun.load(Ordering::SeqCst)
    }

    /// Waits for the end of a round later than `round`.
    ///
    /// `round` itself may have been under way and have taken everything along, with nothing left to do for another
    /// before the client's next word: so one is asked for.
    async fn after(&self, round: u64) {
        let mut ended = self.0.ended.subscribe();
        if *ended.borrow_and_update() <= round
            && let Some(connection) = &*self.connection()
        {
            connection.wake_by_ref();
        }
        // The sender lives as long as `self`.
        let _ = ended.wait_for(|&ended| ended > round).await;
    }

    fn connection(&self) -> MutexGuard<'_, Option<Waker>> {
        // Whole between statements, so a panicked holder left nothing half-done.
        self.0.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A socket that counts its rounds.
#[derive(Debug)]
pub(crate) struct Socket<S> {
    stream: S,
    rounds: Rounds,
}

impl<S> Socket<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self { stream, rounds: Rounds::default() }
    }

    pub(crate) fn rounds(&self) -> Rounds {
        self.rounds.clone()
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self.rounds.connection() {
            Some(waker) => waker.clone_from(context.waker()),
            none => *none = Some(context.waker().clone()),
        }
        self.rounds.0.begun.fetch_add(1, Ordering::SeqCst);
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.rounds.0.ended.send_replace(self.rounds.begun());
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

/// How many items of a stream were handed over, and the round that had begun by then.
type Handed = (u64, u64);

/// A stream that tells how many of its items have left.
pub(crate) struct Watched<S> {
    stream: S,
    rounds: Rounds,
    given: u64,
    /// What was given before the stream had nothing more, and so was on its way when it is polled again.
    resting: Option<Handed>,
    handed: watch::Sender<Handed>,
}

impl<S> Watched<S> {
    /// Calls `left` with the number of items that have left, each time it grows, for as long as the stream lives.
    pub(crate) fn new(stream: S, rounds: Rounds, left: impl Fn(u64) + Send + 'static) -> Self {
        let (handed, mut news) = watch::channel((0, 0));
        let (watching, mut end) = (rounds.clone(), news.clone());
        tokio::spawn(async move {
            while news.changed().await.is_ok() {
                let (count, round) = *news.borrow_and_update();
                tokio::select! {
                    () = watching.after(round) => left(count),
                    // A connection that is gone has no more rounds.
                    _ = end.wait_for(|_| false) => break,
                }
            }
        });
        Self { stream, rounds, given: 0, resting: None, handed }
    }
}

impl<S: Stream + Unpin> Stream for Watched<S> {
    type Item = S::Item;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if let Some(resting) = self.resting.take() {
            self.handed.send_if_modified(|handed| std::mem::replace(handed, resting).0 < resting.0);
        }
        let next = Pin::new(&mut self.stream).poll_next(context);
        match &next {
            Poll::Ready(Some(_)) => self.given += 1,
            Poll::Ready(None) => {}
            Poll::Pending => self.resting = Some((self.given, self.rounds.begun())),
        }
        next
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{future::poll_fn, time::Duration};

    #[tokio::test]
    async fn a_round_is_asked_for_where_none_would_come() {
        let (near, _far) = tokio::io::duplex(64);
        let mut socket = Socket::new(near);
        let rounds = socket.rounds();
        tokio::spawn(poll_fn(move |context| {
            let mut bytes = [0; 8];
            let _ = Pin::new(&mut socket).poll_read(context, &mut ReadBuf::new(&mut bytes));
            let _ = Pin::new(&mut socket).poll_flush(context);
            Poll::<()>::Pending
        }));
        for _ in 0..3 {
            let next = rounds.after(rounds.begun());
            tokio::time::timeout(Duration::from_secs(60), next).await.expect("nothing is read or written");
        }
    }
}
