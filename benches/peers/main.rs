//! Measures Forebay beside other proxies: bulk, round trips, short connections, idle memory, and what
//! goes on besides.
//!
//! `benches/peers/run.sh` makes the place to measure in and starts this; benches/README.md says what
//! the figures mean. Proxies run one after the other, each on CPUs of its own; load and servers are
//! two threads of this process. Everything ends by itself.

mod account;
mod arguments;
mod chart;
mod client;
mod clients;
mod measure;
#[path = "../picture.rs"]
mod picture;
mod report;
mod server;
mod setting;
mod slow;
mod subject;
mod summary;
mod syscalls;
mod timer;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::arguments::Arguments;
use self::measure::Row;
use self::server::Server;
use self::setting::Setting;
use self::subject::{Kind, Stage, Subject};
use self::syscalls::Count;
use self::workload::Workload;

/// All that a run has brought.
struct Results {
    setting: Setting,
    /// The proxies' configuration files, as they were started with.
    files: Vec<(&'static str, String)>,
    rows: Vec<Row>,
    counts: Vec<Count>,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "cannot measure: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> io::Result<()> {
    forebay::net::raise_descriptor_limit();
    let server = Server::start()?;
    let work = workload::chosen(arguments)?;
    let (subjects, missing) = subject::chosen(arguments)?;
    if !missing.is_empty() {
        writeln!(io::stderr(), "not installed, so left out: {}", missing.join(" "))?;
    }
    let setting = Setting::look(&subjects);
    let stage = |workers| Stage { arguments, server: &server, workers };
    let files = files(&stage(1), &work, &subjects)?;
    let mut rows = Vec::new();
    for workers in arguments.workers() {
        measure_all(&stage(workers), &work, &subjects, &mut rows)?;
    }
    let counts =
        if arguments.syscalls { syscalls::count(&stage(1), &work, &subjects)? } else { Vec::new() };
    let results = Results { setting, files, rows, counts };
    io::stdout().write_all(report::markdown(&results, arguments).as_bytes())?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, report::json(&results).to_string())?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, chart::svg(&results.rows))?;
    }
    Ok(())
}

/// Starts each proxy once, so that one that complains about its file does so before all the rest.
fn files(
    stage: &Stage<'_>,
    work: &[Workload],
    subjects: &[Subject],
) -> io::Result<Vec<(&'static str, String)>> {
    let Some(work) = work.first() else { return Ok(Vec::new()) };
    let proxies = subjects.iter().filter(|it| it.kind != Kind::Direct);
    proxies.map(|it| Ok((it.name, it.start(stage, work)?.text.clone()))).collect()
}

fn measure_all(
    stage: &Stage<'_>,
    work: &[Workload],
    subjects: &[Subject],
    rows: &mut Vec<Row>,
) -> io::Result<()> {
    for work in work {
        for round in 0..stage.arguments.rounds() {
            for subject in turn_about(subjects, round).filter(|subject| work.suits(subject)) {
                let row = measure::measure(stage, work, subject)?;
                writeln!(io::stderr(), "round {}: {}", round + 1, report::line(&row))?;
                rows.push(row);
            }
        }
    }
    Ok(())
}

/// Each round begins with another subject, so that no one always comes first.
fn turn_about(subjects: &[Subject], round: usize) -> impl Iterator<Item = &Subject> {
    let from = round % subjects.len().max(1);
    subjects[from..].iter().chain(&subjects[..from])
}
