//! What a transfer tells its caller, in the words of containerd's `transfer.Progress`.

use client::oci::{Descriptor, reference_key};
use model::Digest;
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{sync::Notify, task::AbortHandle};

/// How often growing numbers are told: as containerd does.
const INTERVAL: Duration = Duration::from_millis(300);
/// The event while a layer is unpacked.
const EXTRACTING: &str = "extracting";

/// Something happened, or a number has grown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Progress {
    /// What: `waiting`, `downloading`, `complete`, `saved`, … or a sentence about the whole transfer.
    pub event: String,
    /// To what: an image's name or a blob's reference (`layer-sha256:…`).
    pub name: String,
    /// What brought it along.
    pub parents: Vec<String>,
    /// How far it has come, in bytes.
    pub progress: u64,
    /// How far it will go, in bytes.
    pub total: u64,
    /// The content.
    pub descriptor: Option<Descriptor>,
}

/// Takes progress from anywhere without ever blocking. What nobody has fetched yet is kept, but of one object
/// growing only the latest number, so that it is bounded by the number of objects.
#[derive(Clone, Debug, Default)]
pub struct ProgressSink(Option<Arc<Queue>>);

#[derive(Debug, Default)]
struct Queue {
    waiting: Mutex<VecDeque<Progress>>,
    more: Notify,
}

impl ProgressSink {
    /// One that keeps what it is told, for [`ProgressSink::next`]. The default one drops everything.
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// Whether anybody listens.
    pub fn is_open(&self) -> bool {
        self.0.is_some()
    }

    /// Tells of `progress`.
    pub fn report(&self, progress: Progress) {
        let Some(queue) = &self.0 else { return };
        let mut waiting = lock(&queue.waiting);
        let same = |other: &&mut Progress| other.name == progress.name;
        match waiting.iter_mut().rev().find(same) {
            Some(last) if last.event == progress.event && !progress.name.is_empty() => *last = progress,
            _ => waiting.push_back(progress),
        }
        drop(waiting);
        queue.more.notify_one();
    }

    /// Tells of an event of the whole transfer.
    pub fn say(&self, event: impl Into<String>) {
        self.report(Progress { event: event.into(), ..Progress::default() });
    }

    /// Tells of an event of the image or object `name`.
    pub fn about(&self, event: &str, name: &str, descriptor: &Descriptor) {
        let (event, name) = (event.to_owned(), name.to_owned());
        self.report(Progress { event, name, descriptor: Some(descriptor.clone()), ..Progress::default() });
    }

    /// The next thing told; waits for it. Never, if nothing is kept.
    pub async fn next(&self) -> Progress {
        let Some(queue) = &self.0 else { return std::future::pending().await };
        loop {
            if let Some(progress) = self.try_next() {
                return progress;
            }
            queue.more.notified().await;
        }
    }

    /// The next thing told, if there is one.
    pub fn try_next(&self) -> Option<Progress> {
        lock(&self.0.as_ref()?.waiting).pop_front()
    }
}

/// Follows blobs through a transfer, and tells a sink of each step: containerd's `ProgressTracker`.
///
/// ```text
/// waiting ──► downloading | uploading … ──► complete ──► extracting … ──► extracted
///    └──► already exists
/// ```
/// Steps are told at once, numbers every 300 ms. A layer that is unpacked as it comes is told as extracting from its
/// first unpacked byte on.
#[derive(Debug)]
pub struct Tracker {
    shared: Arc<Shared>,
    ticker: Option<AbortHandle>,
}

#[derive(Debug)]
struct Shared {
    sink: ProgressSink,
    /// The parent of what has no other.
    root: String,
    /// The event while bytes are on their way.
    moving: &'static str,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    parents: HashMap<Digest, Vec<String>>,
    jobs: HashMap<Digest, Job>,
}

#[derive(Debug)]
struct Job {
    /// The last step told of.
    told: Progress,
    /// An event and a number that were not told yet.
    grown: Option<(&'static str, u64)>,
}

impl Tracker {
    /// A tracker for a transfer of `root`; `moving` is `downloading` or `uploading`.
    pub fn new(sink: &ProgressSink, root: &str, moving: &'static str) -> Self {
        let shared = Arc::new(Shared { sink: sink.clone(), root: root.to_owned(), moving, state: Mutex::default() });
        let ticker = sink.is_open().then(|| tokio::spawn(tick(Arc::clone(&shared))).abort_handle());
        Self { shared, ticker }
    }

    /// `children` were found in `parent`.
    pub fn found(&self, parent: &Descriptor, children: &[Descriptor]) {
        let (mut state, parent) = (self.shared.lock(), reference_key(parent));
        for child in children {
            let parents = state.parents.entry(child.digest.clone()).or_default();
            // One parent may list it any number of times.
            if parents.last() != Some(&parent) {
                parents.push(parent.clone());
            }
        }
    }

    /// `blob` belongs to the transfer.
    pub fn add(&self, blob: &Descriptor) {
        self.shared.job(&mut self.shared.lock(), blob);
    }

    /// `blob` need not be moved.
    pub fn exists(&self, blob: &Descriptor) {
        let mut told = {
            let mut state = self.shared.lock();
            let job = self.shared.job(&mut state, blob);
            job.grown = None;
            job.told.event = "already exists".to_owned();
            (job.told.progress, job.told.total) = (blob.size, blob.size);
            job.told.clone()
        };
        // containerd tells this one without parents.
        told.parents.clear();
        self.shared.sink.report(told);
    }

    /// So many bytes of `blob` have moved, from its beginning.
    pub fn moved(&self, blob: &Descriptor, bytes: u64) {
        self.shared.grow(blob, self.shared.moving, bytes);
    }

    /// `blob` has arrived whole.
    pub fn complete(&self, blob: &Descriptor) {
        self.shared.step(blob, "complete", blob.size);
    }

    /// So many (compressed) bytes of layer `blob` are unpacked.
    pub fn extracting(&self, blob: &Descriptor, bytes: u64) {
        self.shared.grow(blob, EXTRACTING, bytes);
    }

    /// Layer `blob` is unpacked.
    pub fn extracted(&self, blob: &Descriptor) {
        self.shared.step(blob, "extracted", blob.size);
    }
}

impl Drop for Tracker {
    fn drop(&mut self) {
        if let Some(ticker) = &self.ticker {
            ticker.abort();
        }
        self.shared.tell_grown();
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// What is known of `blob`; told as waiting when it is new.
    fn job<'a>(&self, state: &'a mut State, blob: &Descriptor) -> &'a mut Job {
        let parents = &state.parents;
        state.jobs.entry(blob.digest.clone()).or_insert_with(|| {
            let parents = parents.get(&blob.digest).cloned().unwrap_or_else(|| vec![self.root.clone()]);
            let told = Progress {
                event: "waiting".to_owned(),
                name: reference_key(blob),
                parents,
                progress: 0,
                total: blob.size,
                descriptor: Some(blob.clone()),
            };
            self.sink.report(told.clone());
            Job { told, grown: None }
        })
    }

    fn grow(&self, blob: &Descriptor, event: &'static str, bytes: u64) {
        if !self.sink.is_open() {
            return;
        }
        let mut state = self.lock();
        let job = self.job(&mut state, blob);
        let now = job.grown.map_or(job.told.event.as_str(), |(event, _)| event);
        // Never back: who watches would see a layer go to and fro, and who does not watch would have all of it kept.
        if now != EXTRACTING || event == EXTRACTING {
            job.grown = Some((event, bytes));
        }
    }

    fn step(&self, blob: &Descriptor, event: &str, bytes: u64) {
        let mut state = self.lock();
        let job = self.job(&mut state, blob);
        job.grown = None;
        job.told.event = event.to_owned();
        job.told.progress = bytes;
        self.sink.report(job.told.clone());
    }

    fn tell_grown(&self) {
        for job in self.lock().jobs.values_mut() {
            let Some((event, bytes)) = job.grown.take() else { continue };
            if job.told.event != event || job.told.progress != bytes {
                job.told.event = event.to_owned();
                job.told.progress = bytes;
                self.sink.report(job.told.clone());
            }
        }
    }
}

async fn tick(shared: Arc<Shared>) {
    let mut interval = tokio::time::interval(INTERVAL);
    loop {
        interval.tick().await;
        shared.tell_grown();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blob(size: u64) -> Descriptor {
        Descriptor { size, media_type: client::oci::media_types::LAYER_GZIP.to_owned(), ..Descriptor::default() }
    }

    fn told(sink: &ProgressSink) -> Vec<(String, u64)> {
        std::iter::from_fn(|| sink.try_next()).map(|progress| (progress.event, progress.progress)).collect()
    }

    #[tokio::test]
    async fn steps_are_told_at_once_and_numbers_now_and_then() {
        let sink = ProgressSink::new();
        let tracker = Tracker::new(&sink, "image", "downloading");
        let layer = blob(100);
        tracker.add(&layer);
        let first = sink.next().await;
        assert_eq!((first.event.as_str(), first.total, first.parents), ("waiting", 100, vec!["image".to_owned()]));
        assert_eq!(first.name, reference_key(&layer));
        tracker.moved(&layer, 10);
        tracker.moved(&layer, 20);
        assert_eq!(told(&sink), []);
        // Nobody reads for a while: the last number is enough.
        tracker.shared.tell_grown();
        tracker.moved(&layer, 90);
        tracker.shared.tell_grown();
        tracker.complete(&layer);
        assert_eq!(told(&sink), [("downloading".to_owned(), 90), ("complete".to_owned(), 100)]);
        tracker.extracting(&layer, 50);
        drop(tracker);
        assert_eq!(told(&sink), [("extracting".to_owned(), 50)]);
    }

    #[tokio::test]
    async fn a_layer_unpacked_as_it_comes_is_extracting_from_then_on() {
        let sink = ProgressSink::new();
        let tracker = Tracker::new(&sink, "image", "downloading");
        let layer = blob(100);
        let tick = || {
            tracker.shared.tell_grown();
            told(&sink).last().cloned()
        };
        tracker.moved(&layer, 10);
        assert_eq!(tick(), Some(("downloading".to_owned(), 10)));
        tracker.extracting(&layer, 5);
        tracker.moved(&layer, 20);
        assert_eq!(tick(), Some(("extracting".to_owned(), 5)));
        tracker.moved(&layer, 30);
        assert_eq!(tick(), None);
        tracker.complete(&layer);
        tracker.extracting(&layer, 50);
        assert_eq!(told(&sink), [("complete".to_owned(), 100)]);
        assert_eq!(tick(), Some(("extracting".to_owned(), 50)));
    }

    #[tokio::test]
    async fn parents_are_told_and_what_exists_is_not_moved() {
        let sink = ProgressSink::new();
        let tracker = Tracker::new(&sink, "image", "downloading");
        let parent = Descriptor { digest: client::oci::sha256(b"parent"), ..blob(1) };
        tracker.found(&parent, &[blob(5), blob(5)]);
        tracker.exists(&blob(5));
        let waiting = sink.next().await;
        assert_eq!(waiting.parents, [reference_key(&parent)]);
        assert_eq!(told(&sink), [("already exists".to_owned(), 5)]);
    }

    #[tokio::test]
    async fn nobody_listens_to_the_default() {
        let sink = ProgressSink::default();
        sink.say("hello");
        let tracker = Tracker::new(&sink, "image", "uploading");
        tracker.moved(&blob(5), 1);
        tracker.complete(&blob(5));
        assert!(!sink.is_open() && sink.try_next().is_none());
    }
}
