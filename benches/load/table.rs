//! What was reached beside what was aimed at.

use rdv_benches::report::Goal;

/// Lines of four columns.
pub(crate) struct Table {
    rows: Vec<[String; 4]>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let head = ["what", "reached", "goal", ""].map(str::to_owned);
        Self { rows: vec![head] }
    }

    /// A figure with a goal.
    pub(crate) fn judged(&mut self, what: impl Into<String>, found: f64, unit: &str, goal: Goal) {
        let (aim, met) = match goal {
            Goal::AtLeast(least) => (format!("≥ {least}"), found >= least),
            Goal::AtMost(most) => (format!("≤ {most}"), found <= most),
        };
        let judgement = if met { "met" } else { "NOT MET" };
        self.row([
            what.into(),
            format!("{} {unit}", rounded(found)),
            format!("{aim} {unit}"),
            judgement.to_owned(),
        ]);
    }

    /// A figure without one.
    pub(crate) fn told(&mut self, what: impl Into<String>, found: f64, unit: &str) {
        let found = format!("{} {unit}", rounded(found));
        self.row([what.into(), found, String::new(), String::new()]);
    }

    fn row(&mut self, row: [String; 4]) {
        println!("{}: {}   {} {}", row[0], row[1], row[2], row[3]);
        self.rows.push(row);
    }

    /// All lines at once, behind what was said while they came.
    pub(crate) fn print(&self) {
        let width = |column: usize| {
            let cells = self.rows.iter().map(|row| row[column].chars().count());
            cells.max().unwrap_or(0)
        };
        let [what, found, goal] = [0, 1, 2].map(width);
        println!();
        for row in &self.rows {
            let line = format!(
                "{:what$}  {:>found$}  {:>goal$}  {}",
                row[0], row[1], row[2], row[3]
            );
            println!("{}", line.trim_end());
        }
    }
}

fn rounded(found: f64) -> String {
    match found.abs() {
        0.0..10.0 => format!("{found:.3}"),
        10.0..1000.0 => format!("{found:.1}"),
        _ => format!("{found:.0}"),
    }
}
