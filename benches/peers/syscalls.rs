//! System calls of a proxy per unit of work, counted by strace(1): figures without noise.

use std::collections::BTreeMap;
use std::io;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;

use crate::account;
use crate::clients::Clients;
use crate::server::Server;
use crate::subject::{Kind, Running, Stage, Subject, pause, signal};
use crate::workload::{Scene, Service, Unit, Workload};

/// What is under way reaches a proxy within this; and so long all clients have to connect.
const SETTLE: Duration = Duration::from_millis(200);

/// So often it is waited for strace to attach, and for a proxy to come to rest.
const TRIES: usize = 50;

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

/// Counts the calls of every proxy at all work that goes on in one way.
pub(crate) fn count(
    stage: &Stage<'_>,
    work: &[Workload],
    subjects: &[Subject],
) -> io::Result<Vec<Count>> {
    let mut counts = Vec::new();
    for work in work.iter().filter(|work| work.scene == Scene::Nothing) {
        for subject in subjects.iter().filter(|subject| subject.kind != Kind::Direct) {
            counts.push(count_one(stage, work, subject)?);
        }
    }
    Ok(counts)
}

fn count_one(stage: &Stage<'_>, work: &Workload, subject: &Subject) -> io::Result<Count> {
    let server = stage.server;
    let running = subject.start(stage, work)?;
    let file = std::env::temp_dir().join(format!("forebay-strace-{}", std::process::id()));
    let mut clients = Clients::new(running.address(work.service), work.plan)?;
    // All are connected before anything is counted, and nothing is under way then or afterwards, so
    // that all that is counted belongs to what is done meanwhile. Bulk never comes to rest.
    let mut go_on = |duration| {
        clients.run(duration)?;
        if work.unit != Unit::Gigabyte {
            clients.come_to_rest()?;
        }
        settle(&running);
        Ok::<f64, io::Error>(units(work, &clients, server))
    };
    let before = go_on(SETTLE)?;
    let mut strace = Command::new("strace");
    strace.args(["-f", "-c", "-U", "calls,name", "-o"]).arg(&file);
    for pid in running.processes() {
        strace.arg("-p").arg(pid.to_string());
    }
    let mut strace = strace.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?;
    for _ in 0..TRIES {
        pause(SETTLE);
        if running.processes().into_iter().all(is_traced) {
            break;
        }
    }
    let done = go_on(COUNTED)? - before;
    signal(strace.id(), Signal::INT);
    strace.wait()?;
    let text = std::fs::read_to_string(&file)?;
    let _ = std::fs::remove_file(&file);
    if clients.tally.errors > 0 {
        let Workload { name, .. } = work;
        let text = format!("{name} with {}: {} errors", subject.name, clients.tally.errors);
        return Err(io::Error::other(text));
    }
    Ok(parse(&text, done, work, subject))
}

/// Waits until a proxy has done all that it has to do.
fn settle(running: &Running) {
    for _ in 0..TRIES {
        pause(SETTLE);
        if running.processes().into_iter().all(account::is_asleep) {
            return;
        }
    }
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
        Unit::MillionTrips
        | Unit::ThousandConnections
        | Unit::Latency
        | Unit::Added
        | Unit::Session
        | Unit::Reader => clients.tally.exchanges as f64,
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
