//! What was measured, as Markdown for people and JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::methods::Method;
use crate::{Figure, IDLE};

/// Where a method cannot hold so many.
const NONE: &str = "–";

/// One way to wait with one number of idle connections.
pub(crate) struct Row {
    pub(crate) method: Method,
    pub(crate) idle: usize,
    pub(crate) rounds: Vec<Figure>,
}

impl Row {
    fn sorted(&self, figure: impl Fn(&Figure) -> f64) -> Vec<f64> {
        let mut figures: Vec<f64> = self.rounds.iter().map(figure).collect();
        figures.sort_by(f64::total_cmp);
        figures
    }

    /// Microseconds of one iteration.
    pub(crate) fn median(&self) -> f64 {
        median(&self.sorted(|figure| figure.all))
    }

    fn wait(&self) -> f64 {
        median(&self.sorted(|figure| figure.wait))
    }

    /// Largest less smallest round, in hundredths of the median.
    fn spread(&self) -> f64 {
        let figures = self.sorted(|figure| figure.all);
        let (least, most) = (figures.first().copied(), figures.last().copied());
        (most.unwrap_or(f64::NAN) - least.unwrap_or(f64::NAN)) / self.median() * 100.0
    }
}

fn median(sorted: &[f64]) -> f64 {
    match sorted.len() {
        0 => f64::NAN,
        count if count % 2 == 1 => sorted[count / 2],
        count => f64::midpoint(sorted[count / 2 - 1], sorted[count / 2]),
    }
}

pub(crate) fn markdown(rows: &[Row], rounds: usize) -> String {
    let mut text = format!("µs of an iteration (± spread %), medians of {rounds} rounds\n\n");
    table(&mut text, rows, Row::median, |row| {
        format!("{:.1} (± {:.0})", row.median(), row.spread() / 2.0)
    });
    text += "\nµs of the waiting alone\n\n";
    table(&mut text, rows, Row::wait, |row| format!("{:.1}", row.wait()));
    text
}

/// A line for each number of idle connections, and one for how much the last is of the first.
fn table(
    text: &mut String,
    rows: &[Row],
    figure: impl Fn(&Row) -> f64,
    cell: impl Fn(&Row) -> String,
) {
    let names: Vec<&str> = Method::ALL.iter().map(|method| method.name()).collect();
    let _ = writeln!(text, "| idle | {} |", names.join(" | "));
    let _ = writeln!(text, "|---|{}", "---|".repeat(names.len()));
    let find = |method, idle| rows.iter().find(|row| row.method == method && row.idle == idle);
    for idle in IDLE {
        let cell = |method| find(method, idle).map_or(NONE.to_owned(), &cell);
        let cells: Vec<String> = Method::ALL.into_iter().map(cell).collect();
        let _ = writeln!(text, "| {idle} | {} |", cells.join(" | "));
    }
    let (first, last) = (IDLE[0], IDLE[IDLE.len() - 1]);
    let ratio = |method| {
        let ends = find(method, first).zip(find(method, last));
        ends.map_or(NONE.to_owned(), |(first, last)| format!("{:.2}", figure(last) / figure(first)))
    };
    let ratios: Vec<String> = Method::ALL.into_iter().map(ratio).collect();
    let _ = writeln!(text, "| {last} ÷ {first} | {} |", ratios.join(" | "));
}

pub(crate) fn json(rows: &[Row]) -> Value {
    let row = |row: &Row| {
        json!({
            "method": row.method.name(), "idle": row.idle, "microseconds": row.median(),
            "wait_microseconds": row.wait(), "spread_percent": row.spread(),
            "rounds": row.rounds.iter().map(|figure| figure.all).collect::<Vec<_>>(),
        })
    };
    json!({ "rows": rows.iter().map(row).collect::<Vec<_>>() })
}
