//! What is known of each thing on its way.

use crate::output::bytes as size_of;
use std::collections::HashMap;

/// Everything on its way, by name.
#[derive(Debug, Default)]
pub(super) struct Rows(HashMap<String, Row>);

#[derive(Debug)]
struct Row {
    phase: String,
    done: u64,
    total: u64,
    /// Bytes that were on their way, and not here already.
    moved: u64,
}

/// What is new of one thing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Change<'a> {
    pub(super) name: &'a str,
    pub(super) phase: String,
    pub(super) done: u64,
    pub(super) total: u64,
    /// Whether a phase has begun.
    pub(super) is_new_phase: bool,
}

impl Rows {
    /// `name` is at byte `done` of `total` in `phase`. `None` if that is no news.
    pub(super) fn set<'a>(&mut self, name: &'a str, phase: &str, done: u64, total: u64) -> Option<Change<'a>> {
        let row =
            self.0.entry(name.to_owned()).or_insert_with(|| Row { phase: String::new(), done: 0, total, moved: 0 });
        let is_new_phase = row.phase != phase;
        if !is_new_phase && row.done == done && row.total == total {
            return None;
        }
        if phase != "already exists" {
            row.moved = row.moved.max(done);
        }
        phase.clone_into(&mut row.phase);
        (row.done, row.total) = (done, total);
        Some(Change { name, phase: phase.to_owned(), done, total, is_new_phase })
    }

    /// So many more bytes of `name` went through `phase`.
    pub(super) fn add<'a>(&mut self, name: &'a str, phase: &str, bytes: u64) -> Option<Change<'a>> {
        let (before, total) = self.0.get(name).map(|row| (if row.phase == phase { row.done } else { 0 }, row.total))?;
        self.set(name, phase, before.saturating_add(bytes), total)
    }

    /// `name` is as a whole in `phase` now.
    pub(super) fn end<'a>(&mut self, name: &'a str, phase: &str) -> Option<Change<'a>> {
        let row = self.0.get(name)?;
        let (total, moved) = (row.total, row.moved);
        let change = self.set(name, phase, total, total);
        // What was here before did not move.
        if let Some(row) = self.0.get_mut(name) {
            row.moved = moved;
        }
        change
    }

    /// Bytes that moved.
    pub(super) fn moved(&self) -> u64 {
        self.0.values().map(|row| row.moved).sum()
    }
}

impl Change<'_> {
    /// Whether it is over with this thing, as far as anybody knows.
    pub(super) fn is_end(&self) -> bool {
        matches!(self.phase.as_str(), "complete" | "extracted" | "already exists" | "saved" | "done" | "pushed content")
    }

    /// Whether it is a document, not worth a bar of its own.
    pub(super) fn is_document(&self) -> bool {
        ["manifest-", "index-", "config-", "attestation-"].iter().any(|kind| self.name.starts_with(kind))
    }

    /// Its name, short: `layer-sha256:0123…` is `0123456789ab`.
    pub(super) fn label(&self) -> &str {
        match self.name.split_once("sha256:") {
            Some((_, hex)) => hex.get(..12).unwrap_or(hex),
            None => self.name,
        }
    }

    /// The step as a line of text, if it is one worth a line.
    pub(super) fn line(&self) -> Option<String> {
        if !self.is_new_phase || self.phase == "waiting" || self.is_document() {
            return None;
        }
        let size = if self.total > 0 { format!(" ({})", size_of(self.total)) } else { String::new() };
        Some(format!("{}: {}{size}", self.label(), self.phase))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_news_is_told_and_only_steps_are_lines() {
        let name = format!("layer-sha256:{}", "0123456789abcdef".repeat(4));
        let mut rows = Rows::default();
        assert_eq!(rows.set(&name, "waiting", 0, 2048).unwrap().line(), None);
        let step = rows.set(&name, "downloading", 1024, 2048).unwrap();
        assert_eq!(step.line().unwrap(), "0123456789ab: downloading (2.0 KiB)");
        assert_eq!(rows.set(&name, "downloading", 1024, 2048), None);
        assert_eq!(rows.set(&name, "downloading", 1500, 2048).unwrap().line(), None);
        assert!(rows.set(&name, "complete", 2048, 2048).unwrap().is_end());
        assert_eq!(rows.moved(), 2048);
        rows.set("layer-sha256:ab", "already exists", 100, 100);
        assert_eq!(rows.moved(), 2048);
        assert_eq!(rows.set("config-sha256:ab", "downloading", 1, 2).unwrap().line(), None);
    }

    #[test]
    fn bytes_of_a_blob_add_up_and_a_whole_blob_moved_nothing() {
        let mut rows = Rows::default();
        assert!(rows.add("unknown", "storing", 1).is_none());
        rows.set("a", "waiting", 0, 100);
        rows.add("a", "storing", 40);
        assert_eq!(rows.add("a", "storing", 60).unwrap().done, 100);
        rows.set("b", "waiting", 0, 50);
        assert!(rows.end("b", "complete").unwrap().is_end());
        assert_eq!(rows.moved(), 100);
    }
}
