//! What was measured, as Markdown for people and JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::arguments::Arguments;
use crate::measure::Row;
use crate::syscalls::Count;
use crate::workload::Unit;

/// What others may use of a CPU before a row is marked as noisy.
const QUIET: f64 = 0.10;

/// The rounds of one proxy at one kind of work, those without errors only.
struct Summary<'a> {
    good: Vec<&'a Row>,
    all: Vec<&'a Row>,
}

impl<'a> Summary<'a> {
    fn of(rows: &'a [Row], work: &str, subject: &str) -> Option<Self> {
        let all: Vec<&Row> =
            rows.iter().filter(|row| row.work == work && row.subject == subject).collect();
        let good = all.iter().copied().filter(|row| row.counts()).collect();
        (!all.is_empty()).then_some(Self { good, all })
    }

    fn median(&self, figure: impl Fn(&Row) -> f64) -> f64 {
        let mut figures: Vec<f64> = self.good.iter().map(|row| figure(row)).collect();
        figures.sort_by(f64::total_cmp);
        match figures.len() {
            0 => f64::NAN,
            count if count % 2 == 1 => figures[count / 2],
            count => f64::midpoint(figures[count / 2 - 1], figures[count / 2]),
        }
    }

    /// Largest less smallest, in hundredths of the median.
    fn spread(&self) -> f64 {
        let figures = || self.good.iter().map(|row| row.figure());
        let (least, most) =
            (figures().fold(f64::MAX, f64::min), figures().fold(f64::MIN, f64::max));
        (most - least) / self.median(Row::figure) * 100.0
    }

    fn errors(&self) -> u64 {
        self.all.iter().map(|row| row.errors).sum()
    }

    /// CPUs that others kept busy meanwhile.
    fn others(&self) -> f64 {
        self.median(|row| row.others / row.seconds)
    }
}

/// The names in the order in which they first came.
fn distinct(names: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    let mut seen = Vec::new();
    for name in names {
        if !seen.contains(&name) {
            seen.push(name);
        }
    }
    seen
}

/// One row while it is measured.
pub(crate) fn line(row: &Row) -> String {
    let Row { work, subject, errors, .. } = row;
    let (figure, label) = (number(row.figure()), row.unit.label());
    let others = row.others / row.seconds;
    format!("{work} {subject}: {figure} {label}, {errors} errors, others used {others:.2} CPU")
}

pub(crate) fn markdown(rows: &[Row], counts: &[Count], arguments: &Arguments) -> String {
    let mut text = String::new();
    let seconds = arguments.duration().as_secs_f64();
    let _ = writeln!(
        text,
        "Medians of {} rounds of {seconds} s each; smaller is better.\n",
        arguments.rounds()
    );
    ratios(&mut text, rows);
    details(&mut text, rows);
    if !counts.is_empty() {
        calls(&mut text, counts);
    }
    text
}

/// One line for each kind of work, the proxies side by side.
fn ratios(text: &mut String, rows: &[Row]) {
    let subjects = distinct(rows.iter().map(|row| row.subject));
    let proxies: Vec<&str> = subjects.iter().copied().filter(|name| *name != "direct").collect();
    let _ = write!(text, "| work | unit |");
    for name in &proxies {
        let _ = write!(text, " {name} |");
    }
    let peers: Vec<&str> =
        proxies.iter().copied().filter(|name| !name.starts_with("forebay")).collect();
    for name in &peers {
        let _ = write!(text, " ÷ {name} |");
    }
    let _ = write!(text, "\n|---|---|{}\n", "---|".repeat(proxies.len() + peers.len()));
    for work in distinct(rows.iter().map(|row| row.work)) {
        let Some(unit) = rows.iter().find(|row| row.work == work).map(|row| row.unit) else {
            continue;
        };
        let figure = |subject: &str| {
            Summary::of(rows, work, subject).map_or(f64::NAN, |sum| sum.median(Row::figure))
        };
        let _ = write!(text, "| {work} | {} |", unit.label());
        for name in &proxies {
            let _ = write!(text, " {} |", number(figure(name)));
        }
        for name in &peers {
            let _ = write!(text, " {} |", number(figure("forebay") / figure(name)));
        }
        text.push('\n');
    }
    text.push('\n');
}

/// One line for each proxy at each kind of work.
fn details(text: &mut String, rows: &[Row]) {
    text.push_str(
        "| work | proxy | done | figure | spread % | all CPUs | p50 µs | p99 µs | errors | others |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for work in distinct(rows.iter().map(|row| row.work)) {
        for subject in distinct(rows.iter().map(|row| row.subject)) {
            let Some(sum) = Summary::of(rows, work, subject) else { continue };
            let Some(unit) = sum.all.first().map(|row| row.unit) else { continue };
            let noisy = if sum.others() > QUIET { " (noisy)" } else { "" };
            let _ = writeln!(
                text,
                "| {work} | {subject} | {} | {} | {:.0} | {} | {} | {} | {} | {:.2}{noisy} |",
                done(&sum, unit),
                number(sum.median(Row::figure)),
                sum.spread(),
                number(sum.median(Row::busy_figure)),
                number(sum.median(|row| row.latency.0)),
                number(sum.median(|row| row.latency.1)),
                sum.errors(),
                sum.others(),
            );
        }
    }
    text.push('\n');
}

/// How much was done, in the words of its unit.
fn done(sum: &Summary<'_>, unit: Unit) -> String {
    let rate = sum.median(|row| row.units / row.seconds);
    match unit {
        Unit::Gigabyte => format!("{:.2} Gbit/s", rate * 8.0 / 1e9),
        Unit::MillionTrips | Unit::Latency | Unit::ThousandConnections => format!("{rate:.0}/s"),
        Unit::Session => {
            let resident = sum.median(|row| row.memory.resident / row.units);
            let idle = sum.median(|row| row.cpu / row.seconds) * 100.0;
            let sessions = sum.median(|row| row.units);
            format!("{sessions:.0} sessions, RSS {resident:.0}, idle CPU {idle:.2} %")
        }
    }
}

fn calls(text: &mut String, counts: &[Count]) {
    text.push_str("| work | proxy | system calls | by name |\n|---|---|---|---|\n");
    for count in counts {
        let mut names: Vec<(&String, &f64)> = count.by_name.iter().collect();
        names.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let names: Vec<String> = names
            .iter()
            .filter(|(_, calls)| **calls >= 0.005)
            .map(|(name, calls)| format!("{name} {calls:.2}"))
            .collect();
        let Count { work, subject, all, .. } = count;
        let _ = writeln!(text, "| {work} | {subject} | {all:.2} | {} |", names.join(", "));
    }
    text.push('\n');
}

pub(crate) fn json(rows: &[Row], counts: &[Count]) -> Value {
    let row = |row: &Row| {
        json!({
            "work": row.work, "subject": row.subject, "unit": row.unit.label(),
            "units": row.units, "seconds": row.seconds, "cpu": row.cpu, "busy": row.busy,
            "others": row.others, "errors": row.errors, "figure": row.figure(),
            "p50_us": row.latency.0, "p99_us": row.latency.1,
            "resident": row.memory.resident, "proportional": row.memory.proportional,
        })
    };
    let count = |count: &Count| {
        json!({
            "work": count.work, "subject": count.subject, "calls": count.all,
            "by_name": count.by_name,
        })
    };
    json!({
        "rows": rows.iter().map(row).collect::<Vec<_>>(),
        "system_calls": counts.iter().map(count).collect::<Vec<_>>(),
    })
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if size.is_nan() => "-".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
