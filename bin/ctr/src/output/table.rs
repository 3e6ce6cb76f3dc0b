//! Columns as Go's text/tabwriter aligns them, so that scripts cut them the same.
//!
//! A cell ends with a tab; what follows the last tab of a line belongs to no column. A column is a run of lines
//! that have a cell there, as wide as its widest cell and the padding.

use super::print;
use crate::failure::Outcome;
use std::fmt::Write as _;

/// How columns are padded.
#[derive(Clone, Copy, Debug)]
enum Padding {
    Spaces,
    /// With tabs of eight columns.
    Tabs,
}

/// Lines of cells.
#[derive(Debug)]
pub(crate) struct Table {
    lines: Vec<Vec<String>>,
    min_width: usize,
    gap: usize,
    padding: Padding,
}

const TAB: usize = 8;

impl Table {
    /// Columns at least four wide and four apart (tasks, containers, plugins).
    pub(crate) fn wide() -> Self {
        Self { lines: Vec::new(), min_width: 4, gap: 4, padding: Padding::Spaces }
    }

    /// Columns four apart.
    pub(crate) fn spaced() -> Self {
        Self { min_width: 1, ..Self::wide() }
    }

    /// Columns one apart (images, snapshots, leases).
    pub(crate) fn narrow() -> Self {
        Self { gap: 1, ..Self::spaced() }
    }

    /// Columns on tab stops (content).
    pub(crate) fn tabbed() -> Self {
        Self { padding: Padding::Tabs, ..Self::narrow() }
    }

    /// Adds a line; cells are separated by tabs.
    pub(crate) fn line(&mut self, line: impl AsRef<str>) {
        self.lines.push(line.as_ref().split('\t').map(str::to_owned).collect());
    }

    /// Adds a line of cells, each of them in a column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [&str; N]) {
        self.lines.push(cells.iter().copied().chain([""]).map(str::to_owned).collect());
    }

    /// Prints it.
    pub(crate) fn print(&self) -> Outcome {
        print(&self.render())
    }

    fn render(&self) -> String {
        let mut text = String::new();
        self.format(&mut text, &mut Vec::new(), 0, self.lines.len());
        text
    }

    /// Writes lines `start..end`, whose columns up to `widths` are known.
    fn format(&self, text: &mut String, widths: &mut Vec<usize>, start: usize, end: usize) {
        let column = widths.len();
        let has_cell = |line: &Vec<String>| column + 1 < line.len();
        let (mut done, mut at) = (start, start);
        while at < end {
            if !has_cell(&self.lines[at]) {
                at += 1;
                continue;
            }
            self.write(text, widths, done, at);
            let block = at;
            let mut width = self.min_width;
            while at < end && has_cell(&self.lines[at]) {
                width = width.max(self.lines[at][column].chars().count() + self.gap);
                at += 1;
            }
            widths.push(width);
            self.format(text, widths, block, at);
            widths.pop();
            done = at;
        }
        self.write(text, widths, done, end);
    }

    fn write(&self, text: &mut String, widths: &[usize], start: usize, end: usize) {
        for line in &self.lines[start..end] {
            for (index, cell) in line.iter().enumerate() {
                text.push_str(cell);
                if let Some(&width) = widths.get(index) {
                    self.pad(text, cell.chars().count(), width);
                }
            }
            text.push('\n');
        }
    }

    fn pad(&self, text: &mut String, cell: usize, width: usize) {
        match self.padding {
            // Writing to a String cannot fail.
            Padding::Spaces => drop(write!(text, "{:1$}", "", width - cell)),
            Padding::Tabs => {
                let missing = width.div_ceil(TAB) * TAB - cell;
                text.extend(std::iter::repeat_n('\t', missing.div_ceil(TAB)));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_without_tab_belong_to_no_column() {
        let mut table = Table::wide();
        table.line("TASK\tPID\tSTATUS\t");
        table.line("a-long-name\t7\tRUNNING");
        assert_eq!(table.render(), "TASK           PID    STATUS    \na-long-name    7      RUNNING\n");
    }

    #[test]
    fn tabs_align_to_eight() {
        let mut table = Table::tabbed();
        table.line("REF\tSIZE\tAGE");
        table.line("0123456\t1\tx");
        assert_eq!(table.render(), "REF\tSIZE\tAGE\n0123456\t1\tx\n");
        table.line("01234567\t1\tx");
        assert_eq!(table.render(), "REF\t\tSIZE\tAGE\n0123456\t\t1\tx\n01234567\t1\tx\n");
    }

    #[test]
    fn a_column_ends_where_a_line_has_none() {
        let mut table = Table::narrow();
        table.line("aaa\tb");
        table.line("c");
        table.line("d\te");
        assert_eq!(table.render(), "aaa b\nc\nd e\n");
    }
}
