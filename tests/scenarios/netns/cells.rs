//! The truth table of `tests/netlab/README.md`, as data.

const TABLE: &str = include_str!("../../netlab/README.md");

/// What the laboratory's own probe found possible between two kinds of network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) a: String,
    pub(crate) b: String,
    /// `U`, `u`, `T`, `t`, `>`, `<`, or `-`.
    pub(crate) marks: String,
}

/// How a transfer has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Must {
    BeDirect,
    /// Directly in nine runs of ten.
    MostlyBeDirect,
    BeRelayed,
}

impl Cell {
    /// How a transfer in it has to end.
    pub(crate) fn must(&self) -> Must {
        match self.marks.as_str() {
            marks if marks.contains(['U', 'u', 'T']) => Must::BeDirect,
            "-" => Must::BeRelayed,
            _ => Must::MostlyBeDirect,
        }
    }

    /// Whether both kinds are among these; all are where there are none.
    pub(crate) fn concerns(&self, kinds: &[String]) -> bool {
        kinds.is_empty() || (kinds.contains(&self.a) && kinds.contains(&self.b))
    }

    /// MiB that take long enough at 20 Mbit/s for what the cell needs: where probes do not get through at once, the relay carries the
    /// first seconds.
    pub(crate) fn mib(&self) -> u64 {
        match self.must() {
            Must::BeDirect if self.marks.contains('U') => 3,
            Must::BeRelayed => 1,
            _ => 16,
        }
    }
}

/// All of them, row by row.
pub(crate) fn cells() -> Vec<Cell> {
    let split = |line: &str| -> Vec<String> {
        let inner = line.trim().trim_matches('|');
        inner
            .split('|')
            .map(|part| part.trim().trim_matches('*').to_owned())
            .collect()
    };
    let mut lines = TABLE
        .lines()
        .skip_while(|line| !line.starts_with("| A \\ B |"));
    let kinds = split(lines.next().unwrap_or_default());
    let mut cells = Vec::new();
    for line in lines.skip(1).take_while(|line| line.starts_with('|')) {
        let row = split(line);
        for (b, marks) in kinds.iter().zip(&row).skip(1) {
            if !marks.is_empty() {
                cells.push(Cell {
                    a: row[0].clone(),
                    b: b.clone(),
                    marks: marks.clone(),
                });
            }
        }
    }
    cells
}

/// What the user behind that kind of router knows and says.
pub(crate) fn flags(kind: &str) -> &'static [&'static str] {
    match kind {
        "portfwd" => &["--port", "50000-50099"],
        _ => &[],
    }
}
