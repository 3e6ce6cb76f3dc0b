//! What was measured, both sides beside each other.

use tests::Impl;

/// Rows of figures.
#[derive(Debug, Default)]
pub(crate) struct Table {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    what: String,
    unit: &'static str,
    goal: Option<f64>,
    ours: Vec<f64>,
    go: Vec<f64>,
}

impl Table {
    /// Adds a figure of one side; the row shows the median of all.
    pub(crate) fn add(&mut self, side: Impl, what: &str, unit: &'static str, goal: Option<f64>, figure: f64) {
        let place = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            self.rows.push(Row { what: what.to_owned(), unit, goal, ours: Vec::new(), go: Vec::new() });
            self.rows.len() - 1
        });
        let row = &mut self.rows[place];
        eprintln!("  {what}, {side:?}: {} {unit}", digits(figure));
        if side == Impl::Ours { row.ours.push(figure) } else { row.go.push(figure) }
    }

    /// Prints everything as a Markdown table.
    pub(crate) fn print(mut self) {
        println!("| measured | ours | Go | ours/Go | at most |\n|---|--:|--:|--:|--:|");
        for row in &mut self.rows {
            let (ours, go) = (median(&mut row.ours), median(&mut row.go));
            let goal = row.goal.map_or_else(String::new, |goal| format!("{goal}"));
            let unit = row.unit;
            println!("| {} | {} {unit} | {} {unit} | {:.2} | {goal} |", row.what, digits(ours), digits(go), ours / go);
        }
    }
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Three significant digits, more or less.
fn digits(figure: f64) -> String {
    match figure {
        f if f >= 100.0 => format!("{f:.0}"),
        f if f >= 10.0 => format!("{f:.1}"),
        f => format!("{f:.2}"),
    }
}
