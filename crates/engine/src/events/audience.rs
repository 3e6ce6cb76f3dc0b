//! How many clients hear events, kept in a file: after a crash the next daemon knows for how many to wait.
//!
//! Nothing is stored of events, so one that shims kept while no daemon ran is lost to a client that subscribes a
//! moment after it was published. So the events of shims wait at the start until as many clients have subscribed as
//! the daemon before had, for a while: some may never come back.
//!
//! The file is on the state directory's tmpfs and needs no sync: it is to outlive this process, not the host.

use model::{Error, Result};
use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::watch, time};

/// The clients that have subscribed.
#[derive(Clone, Debug)]
pub(super) struct Audience(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    count: watch::Sender<usize>,
    phase: watch::Sender<Phase>,
    /// Where the count is kept, while it is. Held while that is written, and while the phase changes.
    file: Mutex<Option<PathBuf>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Those of the daemon before are waited for.
    Gathering,
    Present,
    /// We end; the next daemon waits for those who were here.
    Dismissed,
}

/// One client's place; dropped, it has left.
#[derive(Debug)]
pub(super) struct Seat(Audience);

impl Default for Audience {
    fn default() -> Self {
        let phase = watch::Sender::new(Phase::Gathering);
        Self(Arc::new(Inner { count: watch::Sender::new(0), phase, file: Mutex::default() }))
    }
}

impl Audience {
    /// A client has subscribed.
    pub(super) fn join(&self) -> Seat {
        self.0.count.send_modify(|count| *count += 1);
        self.record();
        Seat(self.clone())
    }

    /// Waits until as many clients are there as `file` says there were, at most for `patience`. From then on their
    /// number is kept there.
    pub(super) async fn gather(&self, file: PathBuf, patience: Duration) {
        let expected = match read(&file) {
            Ok(expected) => expected,
            Err(error) => {
                tracing::warn!(%error, "no event waits for the subscribers that there were");
                0
            }
        };
        let mut count = self.0.count.subscribe();
        let back = time::timeout(patience, count.wait_for(|&count| count >= expected)).await;
        if back.is_err() {
            tracing::info!(expected, "not all subscribers of events came back");
        }
        let mut slot = self.file();
        if !self.is_dismissed() {
            *slot = Some(file);
            self.0.phase.send_replace(Phase::Present);
        }
        drop(slot);
        self.record();
    }

    /// Waits until nobody is waited for any more.
    pub(super) async fn gathered(&self) {
        let mut phase = self.0.phase.subscribe();
        // An error would mean that the sender is gone, and `self` holds it.
        let _sender_lives = phase.wait_for(|&phase| phase != Phase::Gathering).await;
    }

    /// From now on who leaves does so because we end, and is to be waited for by the next daemon.
    pub(super) fn dismiss(&self) {
        let mut slot = self.file();
        *slot = None;
        self.0.phase.send_replace(Phase::Dismissed);
    }

    pub(super) fn is_dismissed(&self) -> bool {
        *self.0.phase.borrow() == Phase::Dismissed
    }

    fn record(&self) {
        let file = self.file();
        let Some(path) = file.as_deref() else { return };
        // Read under the lock: the last to write has the last number. Always as long, it is never there in part.
        let count = format!("{:<20}", *self.0.count.borrow());
        let file = File::options().write(true).create(true).truncate(false).open(path);
        if let Err(error) = file.and_then(|mut file| file.write_all(count.as_bytes())) {
            tracing::warn!(path = %path.display(), %error, "number of event subscribers");
        }
    }

    fn file(&self) -> MutexGuard<'_, Option<PathBuf>> {
        // The path is whole between statements, so a panicked holder left nothing half-done.
        self.0.file.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.0.count.send_modify(|count| *count -= 1);
        self.0.record();
    }
}

fn read(file: &Path) -> Result<usize> {
    match fs::read_to_string(file) {
        // A crash before the first write may have left it empty.
        Ok(text) => Ok(text.trim().parse().unwrap_or_default()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
        Err(error) => Err(Error::io(format!("read {}", file.display()), error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(file: &Path) -> String {
        fs::read_to_string(file).unwrap().trim().to_owned()
    }

    const LONG: Duration = Duration::from_secs(600);

    #[tokio::test]
    async fn a_later_daemon_waits_for_as_many_as_there_were() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("count");
        let first = Audience::default();
        first.gather(file.clone(), LONG).await;
        let (one, _two, three) = (first.join(), first.join(), first.join());
        drop(one);
        assert_eq!(kept(&file), "2");
        first.dismiss();
        drop(three);
        assert_eq!(kept(&file), "2", "who leaves at the end counts");

        let second = Audience::default();
        let gathering = tokio::spawn({
            let (second, file) = (second.clone(), file.clone());
            async move { second.gather(file, LONG).await }
        });
        let _one = second.join();
        tokio::task::yield_now().await;
        assert!(!gathering.is_finished());
        assert_eq!(kept(&file), "2", "a daemon that dies now has not met them");
        let _two = second.join();
        gathering.await.unwrap();
        second.gathered().await;
        assert!(!second.is_dismissed());
    }

    #[tokio::test]
    async fn those_who_never_come_back_are_not_waited_for_for_ever() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("count");
        for content in ["7", "x", ""] {
            fs::write(&file, content).unwrap();
            Audience::default().gather(file.clone(), Duration::from_millis(20)).await;
            assert_eq!(kept(&file), "0");
        }
    }
}
