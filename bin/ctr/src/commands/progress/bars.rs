//! Bars on a terminal: one for each layer, below a line that says what is done as a whole.

use super::rows::Change;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// Every bar.
#[derive(Debug)]
pub(super) struct Bars {
    all: MultiProgress,
    status: ProgressBar,
    bars: Mutex<HashMap<String, ProgressBar>>,
}

/// How often the line of the status turns.
const TURN: Duration = Duration::from_millis(120);

/// Phases in which bytes go by, so that rate and time left mean something. A terminal of 80 columns has room for it.
const RUNNING: &str = "{prefix:12} {msg:11} [{wide_bar}] {bytes:>10}/{total_bytes:<10} {bytes_per_sec:>12} {eta:>4}";
/// All other phases: as wide.
const RESTING: &str = "{prefix:12} {msg:11} [{wide_bar}] {total_bytes:>10}                             ";
/// The line of the status.
const STATUS: &str = "{spinner} {wide_msg} {elapsed}";

impl Bars {
    pub(super) fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr());
        let status = all.add(ProgressBar::new_spinner().with_style(style(STATUS)));
        Self { all, status, bars: Mutex::default() }
    }

    /// Says what is done as a whole.
    pub(super) fn status(&self, text: &str) {
        self.status.set_message(text.to_owned());
        self.status.enable_steady_tick(TURN);
    }

    /// Shows what is new of one thing.
    pub(super) fn show(&self, change: &Change<'_>) {
        let Ok(mut bars) = self.bars.lock() else { return };
        if !bars.contains_key(change.name) {
            // Documents come and go too fast to be seen; an image by its name is what the status is about.
            if change.is_document() || !is_blob(change.name) {
                return;
            }
            // Complete before it is shown, or it would be seen half made.
            let bar = ProgressBar::with_draw_target(Some(change.total), ProgressDrawTarget::hidden())
                .with_style(style(RESTING))
                .with_prefix(change.label().to_owned())
                .with_message(change.phase.clone());
            let bar = self.all.add(bar);
            bars.insert(change.name.to_owned(), bar);
        }
        let Some(bar) = bars.get(change.name) else { return };
        bar.set_length(change.total);
        bar.set_position(change.done);
        if change.is_new_phase {
            let running = matches!(
                change.phase.as_str(),
                "downloading" | "uploading" | "storing" | "converting" | "exporting" | "extracting"
            );
            bar.set_style(style(if running && change.done < change.total { RUNNING } else { RESTING }));
            bar.set_message(change.phase.clone());
            // The rate of one phase says nothing of the next, and what was there before it began is nobody's.
            bar.reset_eta();
        }
        if change.is_end() {
            bar.abandon();
        }
    }

    /// Takes all bars away. Nothing is lost if drawing fails.
    pub(super) fn clear(&self) {
        self.status.finish_and_clear();
        let _ = self.all.clear();
    }
}

fn is_blob(name: &str) -> bool {
    name.contains("sha256:") || name.contains("sha512:")
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; a broken one falls back to the default.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("=> ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_templates_are_whole() {
        for template in [RUNNING, RESTING, STATUS] {
            assert!(ProgressStyle::with_template(template).is_ok(), "{template}");
        }
    }
}
