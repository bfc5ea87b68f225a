//! What was measured, as Markdown for people and JSON for programs.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::Results;
use crate::arguments::Arguments;
use crate::measure::{QUANTILES, Row};
use crate::summary::{Section, Summary};
use crate::syscalls::Count;
use crate::workload::Unit;

/// What others may use of a CPU before a row is marked as noisy.
const QUIET: f64 = 0.10;

/// What HAProxy does that Forebay is compared with beside the best.
const SPLICE: &str = "haproxy-splice";

/// One row while it is measured.
pub(crate) fn line(row: &Row) -> String {
    let Row { work, subject, errors, workers, .. } = row;
    let (figure, label) = (number(row.figure()), row.unit.label());
    let others = row.others / row.seconds;
    format!(
        "{work} {subject}, workers {workers}: {figure} {label}, {errors} errors, \
         others used {others:.2} CPU"
    )
}

pub(crate) fn markdown(results: &Results, arguments: &Arguments) -> String {
    let mut text = results.setting.markdown();
    let (rounds, seconds) = (arguments.rounds(), arguments.duration().as_secs_f64());
    let _ = writeln!(text, "Medians of {rounds} rounds of {seconds} s each; smaller is better.\n");
    let sections = Section::all(&results.rows);
    for section in &sections {
        let _ = writeln!(text, "## Workers of each proxy: {}\n", section.workers);
        compared(&mut text, section);
        latencies(&mut text, section);
        details(&mut text, section);
    }
    if let [one, more, ..] = sections.as_slice() {
        shared(&mut text, one, more);
    }
    if !results.counts.is_empty() {
        calls(&mut text, &results.counts);
    }
    text.push_str("## Files\n\n");
    for (subject, file) in &results.files {
        let _ = writeln!(text, "{subject}:\n\n```\n{}\n```\n", file.trim());
    }
    text
}

/// One line for each kind of work, the proxies side by side.
fn compared(text: &mut String, section: &Section<'_>) {
    let proxies = section.proxies();
    let _ = writeln!(
        text,
        "| work | unit | {} | ÷ best tuned peer | ÷ {SPLICE} |\n|---|---|{}---|---|",
        proxies.join(" | "),
        "---|".repeat(proxies.len())
    );
    for (work, unit) in section.work() {
        let _ = write!(text, "| {work} | {} |", unit.label());
        for name in &proxies {
            let _ = write!(text, " {} |", number(section.figure(work, name)));
        }
        let own = section.figure(work, "forebay");
        let best = section
            .best(work)
            .map_or("-".to_owned(), |(name, figure)| format!("{} ({name})", number(own / figure)));
        let _ = writeln!(text, " {best} | {} |", number(own / section.figure(work, SPLICE)));
    }
    if proxies.contains(&"envoy") && section.work().iter().any(|(work, _)| *work == "reload") {
        text.push_str(
            "\nEnvoy is not reloaded: it does not read its file again, but takes changes from a \
             control plane, or by a hot restart that a program around it drives.\n",
        );
    }
    text.push('\n');
}

/// How long one waits for an answer.
fn latencies(text: &mut String, section: &Section<'_>) {
    let names: Vec<String> =
        QUANTILES.iter().map(|it| format!("p{}", number_of_digits(it * 100.0))).collect();
    let _ = writeln!(
        text,
        "Latencies in µs, from when a request was due (fixed rate, so none is left out)\n\n\
         | work | due/s | proxy | {} |\n|---|---|---|{}",
        names.join(" | "),
        "---|".repeat(names.len())
    );
    for (work, _) in section.work() {
        for subject in section.subjects() {
            let Some(sum) = section.of(work, subject) else { continue };
            let Some((rate, _)) = sum.first().and_then(|row| row.latency) else { continue };
            let quantile = |index| number(sum.median(|row| row.quantile(index)));
            let all: Vec<String> = (0..QUANTILES.len()).map(quantile).collect();
            let _ = writeln!(text, "| {work} | {rate} | {subject} | {} |", all.join(" | "));
        }
    }
    text.push('\n');
}

/// One line for each proxy at each kind of work.
fn details(text: &mut String, section: &Section<'_>) {
    text.push_str(
        "| work | proxy | done | figure | spread % | CPU s | all CPUs | per | memory MB | errors | others |\n\
         |---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for (work, unit) in section.work() {
        for subject in section.subjects() {
            let Some(sum) = section.of(work, subject) else { continue };
            let noisy = if sum.others() > QUIET { " (noisy)" } else { "" };
            let _ = writeln!(
                text,
                "| {work} | {subject} | {} | {} | {} | {} | {} | {} | {} | {} | {:.2}{noisy} |",
                done(&sum, unit),
                number(sum.figure()),
                whole(sum.spread()),
                number(sum.median(Row::cpu_figure)),
                number(sum.median(Row::busy_figure)),
                per(unit),
                number(sum.median(|row| row.memory.proportional / 1e6)),
                sum.errors(),
                sum.others(),
            );
        }
    }
    text.push('\n');
}

/// What CPU time is told for.
fn per(unit: Unit) -> &'static str {
    match unit {
        Unit::Gigabyte | Unit::Reader => "GB",
        Unit::MillionTrips | Unit::Latency => "million trips",
        Unit::ThousandConnections | Unit::Added => "thousand connections",
        Unit::Session => "session",
    }
}

/// How much was done, in the words of its unit.
fn done(sum: &Summary<'_>, unit: Unit) -> String {
    let rate = sum.median(|row| row.units / row.seconds);
    match unit {
        Unit::Gigabyte => format!("{:.2} Gbit/s", rate * 8.0 / 1e9),
        Unit::MillionTrips | Unit::Latency | Unit::ThousandConnections | Unit::Added => {
            format!("{rate:.0}/s")
        }
        Unit::Session => {
            let resident = sum.median(|row| row.grown.resident / row.sessions);
            let idle = sum.median(|row| row.cpu / row.seconds) * 100.0;
            let sessions = sum.median(|row| row.sessions);
            format!("{sessions:.0} sessions, RSS {resident:.0}, idle CPU {idle:.2} %")
        }
        Unit::Reader => {
            let sessions = sum.median(|row| row.sessions);
            format!("{sessions:.0} sessions, {:.3} Gbit/s", rate * 8.0 / 1e9)
        }
    }
}

/// What a unit of work costs with more workers, as a part of what it costs with one.
fn shared(text: &mut String, one: &Section<'_>, more: &Section<'_>) {
    let proxies = more.proxies();
    let _ = writeln!(
        text,
        "## The proxy's CPU per unit with {} workers ÷ with {}\n\n| work | {} |\n|---|{}",
        more.workers,
        one.workers,
        proxies.join(" | "),
        "---|".repeat(proxies.len())
    );
    for (work, unit) in more.work().into_iter().filter(|(_, unit)| *unit != Unit::Session) {
        let _ = write!(text, "| {work} (per {}) |", per(unit));
        for name in &proxies {
            let cpu = |section: &Section<'_>| {
                section.of(work, name).map_or(f64::NAN, |sum| sum.median(Row::cpu_figure))
            };
            let _ = write!(text, " {} |", number(cpu(more) / cpu(one)));
        }
        text.push('\n');
    }
    text.push('\n');
}

fn calls(text: &mut String, counts: &[Count]) {
    text.push_str("## System calls per round trip, connection or MB\n\n");
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

pub(crate) fn json(results: &Results) -> Value {
    let row = |row: &Row| {
        let latency = row.latency.map(|(rate, all)| {
            json!({ "due_per_second": rate, "quantiles": QUANTILES, "microseconds": all })
        });
        json!({
            "work": row.work, "subject": row.subject, "workers": row.workers,
            "unit": row.unit.label(), "units": row.units, "seconds": row.seconds,
            "cpu": row.cpu, "busy": row.busy, "others": row.others, "errors": row.errors,
            "figure": row.figure(), "latency": latency, "sessions": row.sessions,
            "resident": row.memory.resident, "proportional": row.memory.proportional,
            "resident_grown": row.grown.resident, "proportional_grown": row.grown.proportional,
        })
    };
    let count = |count: &Count| {
        json!({
            "work": count.work, "subject": count.subject, "calls": count.all,
            "by_name": count.by_name,
        })
    };
    let files: Value =
        results.files.iter().map(|(name, file)| ((*name).to_owned(), json!(file))).collect();
    json!({
        "setting": results.setting.json(),
        "files": files,
        "rows": results.rows.iter().map(row).collect::<Vec<_>>(),
        "system_calls": results.counts.iter().map(count).collect::<Vec<_>>(),
    })
}

/// A quantile of hundredths, without what floats add to it.
fn number_of_digits(value: f64) -> String {
    format!("{value:.1}").trim_end_matches(".0").to_owned()
}

/// Without a fraction.
fn whole(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.0}") }
}

/// Three digits that matter.
fn number(value: f64) -> String {
    match value.abs() {
        size if !size.is_finite() => "-".to_owned(),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}
