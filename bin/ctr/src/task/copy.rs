//! Copying between our own stdio and a process' pipes.

use super::pipes::Ends;
use super::process::Process;
use std::io::Read as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::unix::pipe;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Bytes copied at once: what a pipe holds.
const CHUNK: usize = 64 << 10;

/// How long a pipe of an ended process may be silent. Its end comes at once, unless another process that
/// outlives it holds the pipe open.
const SILENCE: Duration = Duration::from_secs(2);
const TURN: Duration = Duration::from_millis(100);

/// Output on its way to us.
#[derive(Debug)]
pub(super) struct Copying {
    tasks: JoinSet<()>,
    activity: Arc<AtomicU64>,
}

impl Copying {
    /// Starts copying output, and input if the process has some.
    pub(super) fn start(ends: &mut Ends) -> Self {
        let (mut tasks, activity) = (JoinSet::new(), Arc::new(AtomicU64::new(0)));
        if let Some(pipe) = ends.stdout.take() {
            tasks.spawn(copy_out(pipe, tokio::io::stdout(), activity.clone()));
        }
        if let Some(pipe) = ends.stderr.take() {
            tasks.spawn(copy_out(pipe, tokio::io::stderr(), activity.clone()));
        }
        Self { tasks, activity }
    }

    /// Waits until everything a process has written is copied. To be called after its end.
    pub(super) async fn finish(mut self) {
        let activity = self.activity.clone();
        let silence = async {
            let mut seen = activity.load(Ordering::Relaxed);
            loop {
                tokio::time::sleep(SILENCE).await;
                // It may be us who had no time until now: then there is something to copy.
                tokio::time::sleep(TURN).await;
                let now = activity.load(Ordering::Relaxed);
                // Odd: somebody who reads our output slowly is being waited for.
                if now == seen && now.is_multiple_of(2) {
                    return;
                }
                seen = now;
            }
        };
        tokio::select! {
            () = async { while self.tasks.join_next().await.is_some() {} } => {}
            () = silence => {}
        }
    }
}

/// Copies a pipe to `output`. The counter is odd while writing.
async fn copy_out(mut pipe: pipe::Receiver, mut output: impl AsyncWrite + Unpin, activity: Arc<AtomicU64>) {
    let mut chunk = vec![0; CHUNK];
    let mut broken = false;
    // An error of a pipe is its end.
    while let Ok(len @ 1..) = pipe.read(&mut chunk).await {
        if broken {
            // Nobody reads our output any more, but the process must not block for that.
            activity.fetch_add(2, Ordering::Relaxed);
            continue;
        }
        activity.fetch_add(1, Ordering::Relaxed);
        let written = async {
            output.write_all(&chunk[..len]).await?;
            output.flush().await
        };
        broken = written.await.is_err();
        activity.fetch_add(1, Ordering::Relaxed);
    }
}

/// Copies our stdin to the process, and lets it see the end. Does not keep the program alive.
pub(super) fn copy_in(pipe: pipe::Sender, process: Process) {
    let (sender, mut input) = mpsc::channel::<Vec<u8>>(1);
    // A thread of its own: reading a terminal cannot be interrupted.
    std::thread::spawn(move || {
        let mut stdin = std::io::stdin();
        let mut chunk = vec![0; CHUNK];
        while let Ok(len @ 1..) = stdin.read(&mut chunk) {
            if sender.blocking_send(chunk[..len].to_vec()).is_err() {
                return;
            }
        }
    });
    tokio::spawn(async move {
        let mut pipe = pipe;
        while let Some(chunk) = input.recv().await {
            if pipe.write_all(&chunk).await.is_err() {
                break;
            }
        }
        drop(pipe);
        // Not all is lost if the process is gone already.
        let _ = process.close_stdin().await;
    });
}
