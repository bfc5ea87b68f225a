//! System calls of a proxy per unit of work, counted by strace(1): figures without noise.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::arguments::Arguments;
use crate::client::Clients;
use crate::server::Server;
use crate::subject::{Kind, Subject, pause, signal};
use crate::workload::{Service, Unit, Workload};

/// What is under way has come to rest after this.
const SETTLE: Duration = Duration::from_millis(200);

/// So often it is waited for strace to attach, and for all clients to be connected.
const TRIES: usize = 20;

/// How long work goes on while it is counted.
const COUNTED: Duration = Duration::from_millis(700);

/// Calls for each unit: a round trip, a connection, a megabyte.
#[derive(Debug, Clone)]
pub(crate) struct Count {
    pub(crate) work: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) all: f64,
    pub(crate) by_name: BTreeMap<String, f64>,
}

/// Counts the calls of every proxy at every work but idling.
pub(crate) fn count(
    arguments: &Arguments,
    server: &Server,
    work: &[Workload],
    subjects: &[Subject],
) -> io::Result<Vec<Count>> {
    let mut counts = Vec::new();
    for work in work.iter().filter(|work| work.unit != Unit::Session) {
        let traced = subjects
            .iter()
            .filter(|subject| !matches!(subject.kind, Kind::Direct | Kind::TwoWorkers));
        for subject in traced {
            counts.push(count_one(arguments, server, work, subject)?);
        }
    }
    Ok(counts)
}

fn count_one(
    arguments: &Arguments,
    server: &Server,
    work: &Workload,
    subject: &Subject,
) -> io::Result<Count> {
    let running = subject.start(arguments, server)?;
    let file = std::env::temp_dir().join(format!("forebay-strace-{}", std::process::id()));
    let mut clients = Clients::new(running.address(work.service), work.plan)?;
    // All are connected before anything is counted.
    for _ in 0..TRIES {
        clients.run(SETTLE)?;
        if clients.tally.exchanges >= work.plan.connections as u64 || work.unit == Unit::Gigabyte {
            break;
        }
    }
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&file);
    for pid in running.processes() {
        strace.arg("-p").arg(pid.to_string());
    }
    let mut strace = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    // Nothing goes on while it attaches and lets go, so that all is counted on both sides.
    for _ in 0..TRIES {
        pause(SETTLE);
        if running.processes().into_iter().all(is_traced) {
            break;
        }
    }
    let before = units(work, &clients, server);
    clients.run(COUNTED)?;
    let done = units(work, &clients, server) - before;
    pause(SETTLE);
    signal(strace.id(), Signal::INT);
    strace.wait()?;
    let text = std::fs::read_to_string(&file)?;
    let _ = std::fs::remove_file(&file);
    Ok(parse(&text, done, work, subject))
}

/// True exactly when somebody traces every thread of a process (TracerPid, proc_pid_status(5)).
fn is_traced(pid: u32) -> bool {
    let threads = std::fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let mut statuses = threads.map(|thread| std::fs::read_to_string(thread.path().join("status")));
    statuses.all(|status| status.is_ok_and(|status| !status.contains("TracerPid:\t0\n")))
}

#[allow(clippy::cast_precision_loss, reason = "counts stay far below 2^53")]
fn units(work: &Workload, clients: &Clients, server: &Server) -> f64 {
    match work.unit {
        Unit::Gigabyte if work.service == Service::Sink => server.sunk() as f64 / 1e6,
        Unit::Gigabyte => clients.tally.received as f64 / 1e6,
        Unit::MillionTrips | Unit::ThousandConnections | Unit::Latency | Unit::Session => {
            clients.tally.exchanges as f64
        }
    }
}

fn parse(text: &str, units: f64, work: &Workload, subject: &Subject) -> Count {
    let mut by_name = BTreeMap::new();
    for line in text.lines() {
        let mut words = line.split_whitespace();
        let (Some(calls), Some(name)) = (words.next(), words.next()) else { continue };
        let Ok(calls) = calls.parse::<f64>() else { continue };
        if name != "total" {
            by_name.insert(name.to_owned(), calls / units);
        }
    }
    Count {
        work: work.name,
        subject: subject.name,
        all: by_name.values().fold(0.0, |sum, calls| sum + calls),
        by_name,
    }
}
