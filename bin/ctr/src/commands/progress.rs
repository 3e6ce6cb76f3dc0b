//! Progress of long commands: bars on a terminal, nothing elsewhere (results are printed anyway).

use client::{Event, Progress};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::io::IsTerminal as _;
use std::sync::Mutex;

/// A bar for each blob that is on its way or being unpacked.
pub(crate) struct Bars {
    all: MultiProgress,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    /// Bars on stderr, unless it is no terminal or they are not wanted.
    pub(crate) fn new(hidden: bool) -> Self {
        let hidden = hidden || !std::io::stderr().is_terminal();
        let target = if hidden { ProgressDrawTarget::hidden() } else { ProgressDrawTarget::stderr() };
        Self { all: MultiProgress::with_draw_target(target), bars: Mutex::default() }
    }

    /// Takes all bars away.
    pub(crate) fn finish(&self) {
        // Nothing is lost if drawing fails.
        let _ = self.all.clear();
    }

    fn style() -> ProgressStyle {
        // The template is a constant; a broken one falls back to the default.
        ProgressStyle::with_template("{prefix:19} {msg:9} [{bar:30}] {bytes:>10}/{total_bytes:<10}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .progress_chars("=> ")
    }
}

impl std::fmt::Debug for Bars {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Bars")
    }
}

impl Progress for Bars {
    fn on(&self, event: Event<'_>) {
        // Poisoned only if drawing panicked; progress is then not worth another panic.
        let Ok(mut bars) = self.bars.lock() else { return };
        match event {
            Event::Blob(digest, size) => {
                let bar = self.all.add(ProgressBar::new(size).with_style(Self::style()));
                bar.set_prefix(digest.as_str().chars().take(19).collect::<String>());
                bar.set_message("storing");
                bars.insert(digest.to_string(), bar);
            }
            Event::Sent(digest, bytes) => {
                if let Some(bar) = bars.get(digest.as_str()) {
                    bar.inc(bytes);
                }
            }
            Event::Stored(digest) => {
                if let Some(bar) = bars.get(digest.as_str()) {
                    bar.set_position(bar.length().unwrap_or_default());
                    bar.set_message("stored");
                }
            }
            Event::Unpacking(digest) => {
                if let Some(bar) = bars.get(digest.as_str()) {
                    bar.set_message("unpacking");
                }
            }
            Event::Unpacked(digest) => {
                if let Some(bar) = bars.remove(digest.as_str()) {
                    bar.finish_with_message("done");
                }
            }
        }
    }
}
