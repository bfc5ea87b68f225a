//! What it costs to wait for ten active connections among many idle ones: select, poll, epoll and
//! mio, the loop that a worker stands on. benches/README.md says what the figures mean.

mod chart;
mod connections;
mod methods;
#[path = "../picture.rs"]
mod picture;
mod report;

use std::io::{self, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;

use self::connections::{ACTIVE, Connections, Part, descriptors};
use self::methods::Method;
use self::report::Row;

const IDLE: [usize; 5] = [100, 300, 1_000, 3_000, 9_000];

/// Measures select, poll, epoll and mio with ten active connections among many idle ones
#[derive(Debug, Parser)]
struct Arguments {
    /// Rounds of each measurement
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// Seconds that one measurement takes
    #[arg(long, default_value_t = 0.1)]
    seconds: f64,
    /// A few iterations of everything, to see that it works
    #[arg(long)]
    quick: bool,
    /// Write all figures to this file as JSON
    #[arg(long)]
    json: Option<PathBuf>,
    /// Draw the medians into this file as SVG
    #[arg(long)]
    svg: Option<PathBuf>,
}

impl Arguments {
    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.clamp(1, 100) }
    }

    fn duration(&self) -> Duration {
        Duration::from_secs_f64(if self.quick { 0.001 } else { self.seconds.clamp(0.01, 10.0) })
    }
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
    let most = IDLE[IDLE.len() - 1];
    let (limit, needed) = (forebay::net::raise_descriptor_limit(), descriptors(most));
    if limit < needed as u64 {
        let text = format!("{needed} descriptors are needed, the limit is {limit}");
        return Err(io::Error::other(text));
    }
    let mut connections = Connections::open(most)?;
    let mut rows: Vec<Row> = Vec::new();
    for idle in IDLE {
        let part = connections.first(idle);
        let methods = Method::ALL.into_iter().filter(|method| method.holds(part.watched.len()));
        let mut new: Vec<Row> =
            methods.map(|method| Row { method, idle, rounds: Vec::new() }).collect();
        for round in 0..arguments.rounds() {
            // Each round begins with another, so that no one always comes first.
            for at in 0..new.len() {
                let turn = (round + at) % new.len();
                let row = &mut new[turn];
                row.rounds.push(measure(row.method, part, arguments.duration())?);
            }
        }
        rows.extend(new);
    }
    io::stdout().write_all(report::markdown(&rows, arguments.rounds()).as_bytes())?;
    if let Some(path) = &arguments.json {
        std::fs::write(path, report::json(&rows).to_string())?;
    }
    if let Some(path) = &arguments.svg {
        std::fs::write(path, chart::svg(&rows))?;
    }
    Ok(())
}

/// Microseconds of one iteration, and of its waiting alone.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    all: f64,
    wait: f64,
}

fn measure(method: Method, part: Part<'_>, duration: Duration) -> io::Result<Figure> {
    let mut wait = method.watch(part.watched)?;
    let mut ready = Vec::with_capacity(2 * ACTIVE);
    let mut iteration = || -> io::Result<Duration> {
        part.stir()?;
        let (mut seen, mut waited) = (0, Duration::ZERO);
        while seen < ACTIVE {
            ready.clear();
            let before = Instant::now();
            wait.wait(&mut ready)?;
            waited += before.elapsed();
            for &index in &ready {
                seen += part.read(index)?;
            }
        }
        Ok(waited)
    };
    for _ in 0..10 {
        iteration()?;
    }
    let (begin, mut waited, mut count) = (Instant::now(), Duration::ZERO, 0_u32);
    while count < 10 || begin.elapsed() < duration {
        waited += iteration()?;
        count += 1;
    }
    let each = |time: Duration| time.as_secs_f64() * 1e6 / f64::from(count);
    Ok(Figure { all: each(begin.elapsed()), wait: each(waited) })
}
