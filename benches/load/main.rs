//! Measures Forebay beside other proxies: bulk, round trips, short connections, idle memory.
//!
//! `benches/run.sh` makes the place to measure in and starts this; benches/README.md says what the
//! figures mean. Proxies run one after the other, each on a CPU of its own; load and servers are
//! two threads of this process. Everything ends by itself.

mod account;
mod arguments;
mod client;
mod measure;
mod report;
mod server;
mod subject;
mod syscalls;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::arguments::Arguments;
use self::measure::Row;
use self::subject::Subject;
use self::workload::Workload;

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
    let server = server::Server::start()?;
    let work = workload::chosen(arguments);
    let subjects = subject::chosen(arguments);
    let mut rows = Vec::new();
    for work in &work {
        for round in 0..arguments.rounds() {
            for subject in turn_about(&subjects, round).filter(|subject| work.suits(subject)) {
                rows.push(row(arguments, &server, work, subject, round)?);
            }
        }
    }
    let counts = if arguments.syscalls {
        syscalls::count(arguments, &server, &work, &subjects)?
    } else {
        Vec::new()
    };
    let text = report::markdown(&rows, &counts, arguments);
    io::stdout().write_all(text.as_bytes())?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, report::json(&rows, &counts).to_string())?;
    }
    Ok(())
}

fn row(
    arguments: &Arguments,
    server: &server::Server,
    work: &Workload,
    subject: &Subject,
    round: usize,
) -> io::Result<Row> {
    let row = measure::measure(arguments, server, work, subject)?;
    writeln!(io::stderr(), "round {}: {}", round + 1, report::line(&row))?;
    Ok(row)
}

/// Each round begins with another subject, so that no one always comes first.
fn turn_about(subjects: &[Subject], round: usize) -> impl Iterator<Item = &Subject> {
    let from = round % subjects.len().max(1);
    subjects[from..].iter().chain(&subjects[..from])
}
