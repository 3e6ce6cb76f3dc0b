//! Progress of long commands, on stderr: a bar for each layer on a terminal, a line for each step elsewhere. What a
//! command prints for programs goes to stdout, and is not touched by it.

mod bars;
mod rows;

use crate::failure::Outcome;
use crate::output::{bytes, line};
use bars::Bars;
use client::oci::Descriptor;
use client::{Event, Item, Progress};
use rows::{Change, Rows};
use serde_json::{Value, json};
use std::io::{IsTerminal as _, Write as _};
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// Shows the progress of one command.
pub(crate) struct Board {
    shown: Shown,
    /// What whole blobs are going through when their bytes are told: `storing`, `downloading`, `uploading`.
    moving: &'static str,
    start: Instant,
    state: Mutex<State>,
}

enum Shown {
    /// Nothing is.
    Nothing,
    /// A line for each step.
    Lines,
    /// A bar for each layer.
    Bars(Bars),
}

#[derive(Default)]
struct State {
    rows: Rows,
    /// What the command does as a whole.
    status: String,
    /// What the command is about: the first thing that was described.
    root: Option<Descriptor>,
    /// Images that got their names, and what these point to.
    saved: Vec<Value>,
}

impl Board {
    /// A board for blobs that are `moving`; nothing is shown if that is not wanted.
    pub(crate) fn new(moving: &'static str, hidden: bool) -> Self {
        let shown = match hidden {
            true => Shown::Nothing,
            false if std::io::stderr().is_terminal() => Shown::Bars(Bars::new()),
            false => Shown::Lines,
        };
        Self { shown, moving, start: Instant::now(), state: Mutex::default() }
    }

    /// Takes the bars away.
    pub(crate) fn finish(&self) {
        if let Shown::Bars(bars) = &self.shown {
            bars.clear();
        }
    }

    /// Ends with the two lines that Go's ctr ends with: what it was, and how long it took.
    pub(crate) fn summary(&self) -> Outcome {
        self.finish();
        let Ok(state) = self.state.lock() else { return Ok(()) };
        if let Some(root) = &state.root {
            line(format!("{} {}", root.media_type, root.digest))?;
        }
        let (seconds, total) = (self.start.elapsed().as_secs_f64(), state.rows.moved());
        #[allow(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "shown"
        )]
        let rate = bytes((total as f64 / seconds.max(0.001)) as u64);
        line(format!("{}\telapsed: {seconds:.1}s\ttotal: {}\t({rate}/s)", state.status, bytes(total)))
    }

    /// The images that the daemon has named, each with its digest.
    pub(crate) fn saved(&self) -> Vec<Value> {
        self.state.lock().map(|state| state.saved.clone()).unwrap_or_default()
    }

    /// Says what the command does with `root` as a whole.
    pub(crate) fn begin(&self, root: &Descriptor, text: &str) {
        if let Ok(mut state) = self.state.lock() {
            state.root = Some(root.clone());
        }
        self.on(Event::Status(text));
    }

    /// How long the command has been going on, to the millisecond.
    pub(crate) fn elapsed(&self) -> Duration {
        let elapsed = self.start.elapsed();
        Duration::from_millis(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }

    fn show(&self, change: &Change<'_>) {
        match &self.shown {
            Shown::Nothing => {}
            Shown::Bars(bars) => bars.show(change),
            Shown::Lines => {
                if let Some(text) = change.line() {
                    say(&text);
                }
            }
        }
    }
}

/// A line on stderr. Where that is gone, nobody is told.
fn say(text: &str) {
    let _ = writeln!(std::io::stderr(), "{text}");
}

impl std::fmt::Debug for Board {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Board")
    }
}

impl Progress for Board {
    fn on(&self, event: Event<'_>) {
        // Poisoned only if drawing panicked; progress is then not worth another panic.
        let Ok(mut state) = self.state.lock() else { return };
        let state = &mut *state;
        let rows = &mut state.rows;
        let change = match event {
            Event::Status(text) => {
                text.clone_into(&mut state.status);
                match &self.shown {
                    Shown::Bars(bars) => bars.status(text),
                    Shown::Lines => say(text),
                    Shown::Nothing => {}
                }
                return;
            }
            Event::Item(Item { name, phase, done, total, descriptor }) => {
                if state.root.is_none() {
                    state.root = descriptor.cloned();
                }
                if let ("saved", Some(image)) = (phase, descriptor) {
                    state.saved.push(json!({"name": name, "digest": image.digest.as_str()}));
                }
                rows.set(name, phase, done, total)
            }
            Event::Blob(digest, size) => rows.set(digest.as_str(), "waiting", 0, size),
            Event::Sent(digest, bytes) => rows.add(digest.as_str(), self.moving, bytes),
            Event::Stored(digest) => rows.end(digest.as_str(), "complete"),
            Event::Unpacking(digest) => rows.end(digest.as_str(), "extracting"),
            Event::Unpacked(digest) => rows.end(digest.as_str(), "extracted"),
        };
        if let Some(change) = change {
            self.show(&change);
        }
    }
}
