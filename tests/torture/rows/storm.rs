//! C: all clients come back at once.

use std::net::SocketAddr;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::crowd::Crowd;
use crate::proxy::{Kind, Proxy};
use crate::rest::{KEPT, Rest};
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::rush::{Rush, peak_during, rush};
use crate::support::{Forebay, SOON, Start, comes_true, eventually};

pub const ROWS: &[Row] = &[Row {
    name: "C6",
    what: "9,000 clients with 3 backends (900 at every commit): one backend dies, all are reset, and all connect again at once; the \
           backend is back once half of them are served, with slow start",
    should: "retries are made, and attempts are at most 1.2 times the clients' connects (and 10 a second); no backend gets more in \
             0.1 s than twice what one of three healthy ones gets when as many come at once (in one of 3 tries); all are served within 10 s (at every commit: \
             40 s)",
    when: When::Commit,
    peers: false,
    play: c6,
}];

#[test]
fn c6_a_storm_of_clients_that_come_back_hits_no_backend_twice_as_hard() {
    must_hold("C6");
}

const BACKENDS: usize = 3;

/// The longest that all may take to be served, and that is waited for them at every commit.
const RECOVERED: Duration = Duration::from_secs(10);
const WAITED: Duration = Duration::from_secs(40);

/// How often all come while all backends are healthy: a machine that is busy in one of them serves less.
const CALM: usize = 4;

/// More sockets than this it has for sessions alone.
const OTHERS: usize = 100;

/// How often it is played at most: what the machine does in one part and not in the other is no peak.
const TRIES: usize = 3;

/// Memory in bytes that may stay of each session, and of the line that tells of it.
const EACH: u64 = 2 << 10;

fn c6(_: Kind, length: Length) -> Verdict {
    forebay::net::raise_descriptor_limit();
    let clients = if length == Length::Long { 9000 } else { 900 };
    let within = if length == Length::Long { RECOVERED } else { WAITED };
    let mut seen = storm(clients, within);
    for _ in 1..TRIES {
        if !seen.1.met || seen.0 <= 2.0 {
            break;
        }
        seen = storm(clients, within);
    }
    let (ratio, verdict) = seen;
    Verdict { met: verdict.met && ratio <= 2.0, ..verdict }
}

/// What came of it, and how much higher the peak was than that of healthy backends.
fn storm(clients: usize, within: Duration) -> (f64, Verdict) {
    let mut crowds: Vec<Crowd> = (0..BACKENDS).map(|_| Crowd::start()).collect();
    let addresses: Vec<SocketAddr> = crowds.iter().map(Crowd::address).collect();
    let mut forebay = Start::new(file(&addresses)).sessions().start();
    let rest = Rest::of(&forebay).with_room(KEPT + EACH * clients as u64);
    // It finds all of them before it, at one moment.
    let come = || rush(forebay.address("web"), clients, within, || forebay.wake());
    let (mut last, mut steady, mut before) = (Rush::default(), 0.0_f64, 0);
    for _ in 0..CALM {
        last.reset(|stay| forebay.sockets() <= 2 * stay + OTHERS);
        eventually(SOON, || live(&crowds) == 0);
        forebay.freeze();
        let (seen, peak) = peak_during(|| accepted(&crowds), come);
        (last, steady) = (seen, peak.max(steady));
        before += last.served.len() + last.failed;
    }
    let all_before = before == CALM * clients;
    // That the backend is dead it learns from those who come: no probe is made meanwhile.
    last.reset(|stay| forebay.sockets() <= 2 * stay + OTHERS);
    eventually(SOON, || live(&crowds) == 0);
    forebay.freeze();
    drop(crowds.remove(0));
    let began = Instant::now();
    let (storm, peak) = return_of(addresses[0], &crowds, clients, come);
    let took = began.elapsed();
    let (served, firsts) = (storm.served.len(), storm.served.len() + storm.failed);
    storm.reset(|stay| forebay.sockets() <= 2 * stay + OTHERS);
    let told = comes_true(SOON, || forebay.sessions().len() >= before + firsts);
    let lost = forebay.said().contains("log lines dropped");
    assert!(told, "{} of {before} + {firsts}, lost: {lost}", forebay.sessions().len());
    // While all were healthy one attempt was enough for each.
    let attempts = forebay.sessions().iter().map(|it| it.attempts).sum::<u64>() - before as u64;
    rest.expect_back(&forebay, "C6", 0);
    Proxy::stop(&mut forebay);
    let floor = took.as_secs_f64() * 10.0 + 10.0;
    let bounded = attempts as f64 <= firsts as f64 * 1.2 + floor;
    let verdict = Verdict {
        figure: format!(
            "{served} of {clients} served in {:.1} s; {attempts} attempts for {firsts} connects; at most {peak:.0} at a backend in 0.1 s, \
             {steady:.0} while all are healthy",
            took.as_secs_f64()
        ),
        met: all_before && served == clients && attempts > firsts as u64 && bounded,
    };
    (peak / steady, verdict)
}

/// They come, and once half of them are there, so does the backend that was here; the peak of any.
fn return_of(
    address: SocketAddr,
    crowds: &[Crowd],
    clients: usize,
    come: impl Fn() -> Rush,
) -> (Rush, f64) {
    let (back, had) = (OnceLock::new(), accepted(crowds).iter().sum::<usize>());
    let half = || accepted(crowds).iter().sum::<usize>() - had >= clients / 2;
    let counts = || {
        let mut counts = accepted(crowds);
        counts.extend(back.get().map(Crowd::accepted));
        counts
    };
    peak_during(counts, || {
        std::thread::scope(|scope| {
            scope.spawn(|| comes_true(SOON, half).then(|| back.set(Crowd::at(address))));
            come()
        })
    })
}

fn live(crowds: &[Crowd]) -> usize {
    crowds.iter().map(Crowd::live).sum()
}

fn accepted(crowds: &[Crowd]) -> Vec<usize> {
    crowds.iter().map(Crowd::accepted).collect()
}

/// Probes find out later than the clients who come.
fn file(backends: &[SocketAddr]) -> String {
    Forebay::simple(
        backends,
        "slow_start = \"30s\"\nprobe = { interval = \"200ms\", fast_interval = \"200ms\", fall = 3, rise = 1 }",
    )
}
