//! A promotion under load: the primary falls silent, its replica takes over, and nobody who comes is refused.

use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::postgres::{primary, query, replica, start, words};
use super::*;
use crate::support::{Peer, Process, eventually, left_out, obtain, output_within};

/// Sessions that are open to the primary when it is lost.
const OPEN: usize = 5;

/// Clients that come while nobody is the primary.
const WAITING: usize = 5;

/// The beginning of a session (PostgreSQL's manual, "Message Formats", StartupMessage of protocol 3.0).
fn begin(forebay: &Forebay) -> Peer {
    let parameters = b"user\0tester\0database\0postgres\0\0";
    let length = u32::try_from(8 + parameters.len()).unwrap();
    let version: u32 = 3 << 16;
    let mut client = Peer::connect(forebay.address("web"));
    client.send(&[&length.to_be_bytes(), &version.to_be_bytes(), &parameters[..]].concat());
    client
}

/// Waits until the server is ready for a query: ReadyForQuery, with no transaction begun.
#[track_caller]
fn expect_ready(client: &mut Peer) {
    let (ready, mut got) = (b"Z\0\0\0\x05I", Vec::new());
    while !got.ends_with(ready) {
        got.extend(client.read_some(4096).unwrap());
    }
}

/// A run of pgbench with a connection for each transaction.
#[derive(Debug)]
struct Run {
    began: Instant,
    ended: Instant,
    /// What it complained of, if it failed.
    failure: Option<String>,
}

fn pgbench(address: SocketAddr, script: &str) -> Run {
    let port = address.port().to_string();
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

#[test]
fn no_new_connection_fails_while_a_primary_is_lost_and_another_promoted() {
    if left_out(&["postgres", "initdb", "pg_basebackup", "pgbench", "psql", "setpriv"]) {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let (old, one) = start(&primary(directory.path()));
    let (_new, two) = start(&replica(directory.path(), one));
    let script = directory.path().join("script");
    std::fs::write(&script, "select pg_is_in_recovery();\n").unwrap();
    let pool = "on_unhealthy = \"close\"\nwhen_down = { hold = \"1m\" }\n\
                probe = { kind = { postgres-primary = { user = \"tester\" } }, interval = \"100ms\", \
                timeout = \"1s\", rise = 1, fall = 3 }";
    let forebay = Start::new(Forebay::simple(&[one, two], pool)).sessions().start();
    expect_healthy(&forebay, one);
    expect_unhealthy(&forebay, two, "it is a replica, not a primary");
    let mut open: Vec<Peer> = (0..OPEN).map(|_| begin(&forebay)).collect();
    open.iter_mut().for_each(expect_ready);
    let (stop, runs) = (AtomicBool::new(false), std::sync::Mutex::new(Vec::new()));
    let web = forebay.address("web");
    let good_since = |since: Instant| {
        let runs: &Vec<Run> = &runs.lock().unwrap();
        runs.iter().filter(|run| run.began > since && run.failure.is_none()).count()
    };
    let began = Instant::now();
    let (lost_at, told_at) = std::thread::scope(|scope| {
        let ended = StopAtEnd(&stop);
        scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                let run = pgbench(web, script.to_str().unwrap());
                runs.lock().unwrap().push(run);
            }
        });
        eventually(SOON, || good_since(began) >= 2);
        // It takes nobody any more, but whoever has a session keeps it: only Forebay can end that.
        let postmaster = Process::new(old.id());
        postmaster.signal(Signal::STOP);
        let lost_at = Instant::now();
        let told_at =
            obtain(SOON, || matches!(verdict(&forebay, one), Some(Err(_))).then(Instant::now));
        open.iter_mut().for_each(Peer::expect_reset);
        let reset_after = told_at.elapsed();
        let mut waiting: Vec<Peer> = (0..WAITING).map(|_| begin(&forebay)).collect();
        assert_eq!(query(two, "select pg_promote()"), "t");
        expect_healthy(&forebay, two);
        waiting.iter_mut().for_each(expect_ready);
        assert_eq!(query(web, "select pg_is_in_recovery()"), "f");
        eventually(SOON, || good_since(told_at) >= 2);
        println!("lost after {:?}, then reset after {reset_after:?}", told_at - lost_at);
        drop(ended);
        (lost_at, told_at)
    });
    Process::new(old.id()).signal(Signal::CONT);
    let runs = runs.into_inner().unwrap();
    // Who was connected to the old primary, or came to it before it was found out, may have been cut.
    let may_fail = |run: &&Run| run.began < told_at && run.ended > lost_at;
    let failed: Vec<&Run> =
        runs.iter().filter(|run| run.failure.is_some() && !may_fail(run)).collect();
    assert!(failed.is_empty(), "{failed:?}");
    let of_open = |client: &Peer| {
        let sessions = forebay.sessions();
        sessions.iter().filter(|it| it.client == Some(client.local())).count()
    };
    eventually(SOON, || open.iter().all(|client| of_open(client) == 1));
}

/// Lets pgbench stop, also when a test fails: its thread is waited for.
struct StopAtEnd<'a>(&'a AtomicBool);

impl Drop for StopAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}
