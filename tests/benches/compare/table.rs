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
    /// Of neither.
    bare: Vec<f64>,
}

impl Table {
    /// Adds a figure of one side; the row shows the median of all.
    pub(crate) fn add(&mut self, side: Impl, what: &str, unit: &'static str, goal: Option<f64>, figure: f64) {
        eprintln!("  {what}, {side:?}: {} {unit}", digits(figure));
        let row = self.row(what, unit, goal);
        if side == Impl::Ours { row.ours.push(figure) } else { row.go.push(figure) }
    }

    /// Adds a figure that belongs to neither side.
    pub(crate) fn add_bare(&mut self, what: &str, unit: &'static str, figure: f64) {
        eprintln!("  {what}: {} {unit}", digits(figure));
        self.row(what, unit, None).bare.push(figure);
    }

    fn row(&mut self, what: &str, unit: &'static str, goal: Option<f64>) -> &mut Row {
        let place = self.rows.iter().position(|row| row.what == what).unwrap_or_else(|| {
            let (ours, go, bare) = (Vec::new(), Vec::new(), Vec::new());
            self.rows.push(Row { what: what.to_owned(), unit, goal, ours, go, bare });
            self.rows.len() - 1
        });
        &mut self.rows[place]
    }

    /// Prints everything as a Markdown table.
    pub(crate) fn print(mut self) {
        println!("| measured | ours | Go | ours/Go | at most |\n|---|--:|--:|--:|--:|");
        for row in &mut self.rows {
            let (ours, go) = (median(&mut row.ours), median(&mut row.go));
            let goal = row.goal.map_or_else(String::new, |goal| format!("{goal}"));
            let unit = row.unit;
            if !row.bare.is_empty() {
                println!("| {} | {} {unit} | | | |", row.what, digits(median(&mut row.bare)));
                continue;
            }
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
