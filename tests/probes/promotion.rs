//! A promotion under load: the primary is lost, its replica takes over, and nobody who comes is refused.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::Signal;

use super::postgres::{primary, query, replica, start, words};
use super::*;
use crate::support::{End, Peer, Process, eventually, left_out, obtain, output_within, run};

/// Sessions that are open to the primary when it is lost.
const OPEN: usize = 5;

/// More than a few runs of pgbench take on a machine that is busy with other work.
const LONG: Duration = Duration::from_secs(60);

/// Clients that come while nobody is the primary.
const WAITING: usize = 5;

/// How the primary is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loss {
    /// It takes nobody any more, but whoever has a session keeps it: only Forebay can end that.
    Silent,
    /// It is killed: whoever comes is refused.
    Refusing,
}

/// The beginning of a session (PostgreSQL's manual, "Message Formats", StartupMessage of protocol 3.0).
fn begin(web: SocketAddr) -> Peer {
    let parameters = b"user\0tester\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).unwrap();
    let version: u32 = 3 << 16;
    let mut client = Peer::connect(web);
    client.send(&[&length.to_be_bytes(), &version.to_be_bytes(), &parameters[..]].concat());
    client
}

/// Waits until the server is ready for a query: ReadyForQuery, with no transaction begun.
fn becomes_ready(client: &mut Peer) -> Result<(), End> {
    let (ready, mut got) = (b"Z\0\0\0\x05I", Vec::new());
    while !got.ends_with(ready) {
        got.extend(client.read_some(4096)?);
    }
    Ok(())
}

#[track_caller]
fn expect_ready(client: &mut Peer) {
    assert_eq!(becomes_ready(client), Ok(()));
}

/// What clients did, each with a connection of its own for each thing.
#[derive(Debug)]
struct Run {
    began: Instant,
    ended: Instant,
    /// What it complained of, if it failed.
    failure: Option<String>,
}

/// A run of pgbench.
fn pgbench(address: SocketAddr, script: &Path) -> Run {
    let (port, script) = (address.port().to_string(), script.to_str().unwrap());
    let to = ["-h", "127.0.0.1", "-p", &port, "-U", "tester", "postgres"];
    let bench = ["pgbench", "-n", "-C", "-c", "2", "-t", "5", "-f", script];
    let words = words(&[&bench[..], &to].concat());
    let began = Instant::now();
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let output = output_within(Duration::from_secs(60), command.spawn().unwrap());
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    Run { began, ended: Instant::now(), failure: (!output.status.success()).then_some(said) }
}

/// One new connection.
fn visit(address: SocketAddr) -> Run {
    let began = Instant::now();
    let mut client = begin(address);
    client.within(Duration::from_secs(60));
    let failure = becomes_ready(&mut client).err().map(|end| format!("{end:?}"));
    Run { began, ended: Instant::now(), failure }
}

/// What has been played.
struct Played {
    forebay: Forebay,
    /// The sessions that were open to the primary, and how they ended.
    open: Vec<Peer>,
    ends: Vec<End>,
    /// When what takes the primary away began, and when it had.
    losing_at: Instant,
    lost_at: Instant,
    told_at: Instant,
    pgbench: Vec<Run>,
    visits: Vec<Run>,
}

/// The primary is lost while clients come, and the replica is promoted.
fn play(loss: Loss) -> Played {
    let directory = tempfile::tempdir().unwrap();
    let data = primary(directory.path());
    let (postmaster, old) = start(&data);
    let (_new, new) = start(&replica(directory.path(), old));
    let script = directory.path().join("script");
    std::fs::write(&script, "select pg_is_in_recovery();\n").unwrap();
    // Logins may take long beside so many.
    let pool = "on_unhealthy = \"close\"\nwhen_down = { hold = \"1m\" }\n\
                probe = { kind = { postgres-primary = { user = \"tester\" } }, \
                interval = \"100ms\", timeout = \"2s\", rise = 1, fall = 2 }";
    let forebay = Start::new(Forebay::simple(&[old, new], pool)).sessions().start();
    expect_healthy(&forebay, old);
    // It is a replica, or may still be starting.
    eventually(SOON, || matches!(verdict(&forebay, new), Some(Err(_))));
    let web = forebay.address("web");
    let mut open: Vec<Peer> = (0..OPEN).map(|_| begin(web)).collect();
    open.iter_mut().for_each(expect_ready);
    let (stop, benches, visits) = (AtomicBool::new(false), Mutex::default(), Mutex::default());
    let good_since = |since: Instant| {
        let enough = |runs: &Mutex<Vec<Run>>| {
            let runs = runs.lock().unwrap();
            runs.iter().filter(|it| it.began > since && it.failure.is_none()).count() >= 2
        };
        enough(&benches) && enough(&visits)
    };
    let until_stopped = |runs: &Mutex<Vec<Run>>, work: &dyn Fn() -> Run| {
        while !stop.load(Ordering::SeqCst) {
            let run = work();
            runs.lock().unwrap().push(run);
        }
    };
    let began = Instant::now();
    let (losing_at, lost_at, told_at, ends) = std::thread::scope(|scope| {
        let ended = StopAtEnd(&stop);
        scope.spawn(|| until_stopped(&benches, &|| pgbench(web, &script)));
        scope.spawn(|| until_stopped(&visits, &|| visit(web)));
        eventually(LONG, || good_since(began));
        let losing_at = Instant::now();
        let lost_at = lose(postmaster.id(), loss, &data);
        let told_at =
            obtain(SOON, || matches!(verdict(&forebay, old), Some(Err(_))).then(Instant::now));
        let ends: Vec<End> = open.iter_mut().map(end).collect();
        let mut waiting: Vec<Peer> = (0..WAITING).map(|_| begin(web)).collect();
        assert_eq!(query(new, "select pg_promote()"), "t");
        expect_healthy(&forebay, new);
        waiting.iter_mut().for_each(expect_ready);
        assert_eq!(query(web, "select pg_is_in_recovery()"), "f");
        eventually(LONG, || good_since(told_at));
        drop(ended);
        (losing_at, lost_at, told_at, ends)
    });
    if loss == Loss::Silent {
        Process::new(postmaster.id()).signal(Signal::CONT);
    }
    let (pgbench, visits) = (benches.into_inner().unwrap(), visits.into_inner().unwrap());
    Played { forebay, open, ends, losing_at, lost_at, told_at, pgbench, visits }
}

/// How a session ends; one whose server is killed may say good-bye.
fn end(client: &mut Peer) -> End {
    loop {
        if let Err(end) = client.read_some(4096) {
            return end;
        }
    }
}

/// Loses the primary; from when on it is lost.
fn lose(postmaster: u32, loss: Loss, data: &Path) -> Instant {
    let process = Process::new(postmaster);
    match loss {
        Loss::Silent => {
            process.signal(Signal::STOP);
            Instant::now()
        }
        Loss::Refusing => {
            // "Shared memory segment key and ID" is its seventh line (PostgreSQL's pidfile.h).
            let file = std::fs::read_to_string(data.join("postmaster.pid")).unwrap();
            let segment = file.lines().nth(6).unwrap().split_whitespace().last().unwrap();
            process.signal(Signal::KILL);
            eventually(SOON, || process.has_ended());
            let lost_at = Instant::now();
            // It would have been given back by itself.
            run(&["ipcrm", "-m", segment], Stdio::null());
            lost_at
        }
    }
}

/// Those that failed though they were not under way when the primary was being lost, nor came before `known`.
fn failed(runs: &[Run], losing_at: Instant, known: Instant) -> Vec<&Run> {
    let may_fail = |run: &&Run| run.began < known && run.ended > losing_at;
    runs.iter().filter(|run| run.failure.is_some() && !may_fail(run)).collect()
}

#[test]
fn no_new_connection_fails_once_a_primary_is_known_to_be_silent_and_another_promoted() {
    if left_out(&["postgres", "initdb", "pg_basebackup", "pgbench", "psql", "setpriv"]) {
        return;
    }
    let played = play(Loss::Silent);
    assert_eq!(played.ends, [End::Reset; OPEN]);
    expect_ended_once(&played.forebay, &played.open);
    // Who came before it was found out may have been cut: its kernel still takes connections.
    for runs in [&played.pgbench, &played.visits] {
        let failed = failed(runs, played.losing_at, played.told_at);
        assert!(failed.is_empty(), "{failed:?}");
    }
}

#[test]
fn sessions_are_reset_once_within_a_second_when_a_primary_falls_silent() {
    if left_out(&["postgres", "initdb", "setpriv"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (server, address) = start(&primary(directory.path()));
    let postmaster = Process::new(server.id());
    let pool = format!(
        "on_unhealthy = \"close\"\n\
         probe = {{ kind = {{ postgres-primary = {{ user = \"tester\" }} }}, {SOON_TOLD} }}"
    );
    within_a_second(|| {
        let forebay = Start::new(Forebay::simple(&[address], &pool)).sessions().start();
        expect_healthy(&forebay, address);
        let mut open: Vec<Peer> = (0..OPEN).map(|_| begin(forebay.address("web"))).collect();
        if open.iter_mut().any(|client| becomes_ready(client).is_err()) {
            return None;
        }
        postmaster.signal(Signal::STOP);
        let lost_at = Instant::now();
        let ends: Vec<End> = open.iter_mut().map(end).collect();
        let time = lost_at.elapsed();
        postmaster.signal(Signal::CONT);
        // Two probes have to take too long after each other, and one of them begins after the loss.
        if time < TOO_LONG || times_found_unhealthy(&forebay, address) != 1 {
            return None;
        }
        assert_eq!(ends, [End::Reset; OPEN]);
        expect_ended_once(&forebay, &open);
        Some(time)
    });
}

#[test]
fn no_new_connection_fails_when_a_primary_is_killed_and_another_promoted() {
    if left_out(&["postgres", "initdb", "pg_basebackup", "pgbench", "psql", "setpriv", "ipcrm"]) {
        return;
    }
    let played = play(Loss::Refusing);
    for runs in [&played.pgbench, &played.visits] {
        let failed = failed(runs, played.losing_at, played.lost_at);
        assert!(failed.is_empty(), "{failed:?}");
    }
}

/// Lets clients stop, also when a test fails: their threads are waited for.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
