//! F, what runs out: descriptors, source ports, permits.

use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::crowd::{Crowd, Fate, count, fate, fates, load, milliseconds, trip};
use crate::proxy::{Kind, Setup};
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::side::PATIENCE;
use crate::stage::Stage;
use crate::support::{
    Caps, Counting, Netns, Peer, Process, THREADS, all_at_once, churn, comes_to_rest, comes_true,
    left_out, root_or_left_out,
};

pub const ROWS: &[Row] = &[
    Row {
        name: "F1",
        what: "RLIMIT_NOFILE falls to 256 under 40 sessions, and 1,000 clients come; then sessions end, three times",
        should: "under 5 % CPU while full, and a log line, but no more than one a second; the 40 go on; a waiting client is served, middle of 3, ≤ 150 ms after a descriptor is free",
        when: When::Commit,
        peers: true,
        play: f1,
    },
    Row {
        name: "F3",
        what: "300 clients at once with 100 source ports, before 1 backend and before 3",
        should: "100 and 300 are served, the rest is reset and counted, and the log says why; under 5 % CPU for a second from the first reset on (a \
                 debug build: three times that); a port that is free again is used",
        when: When::Commit,
        peers: true,
        play: f3,
    },
    Row {
        name: "F4",
        what: "the process, a listener, a source, a pool, a backend: each in turn lets 48 in and the others more; 200,000 are opened and ended \
               in every way (10,000 at every commit)",
        should: "for each: 48 of 400 served before and after, never 49 at once; every count is 0 at the end",
        when: When::Commit,
        peers: false,
        play: f4,
    },
];

#[test]
fn f1_without_descriptors_sessions_go_on_and_accepting_resumes_by_itself() {
    must_hold("F1");
}

#[test]
fn f3_without_source_ports_clients_are_reset_and_the_others_go_on() {
    if !root_or_left_out() && !left_out(&["ip", "sysctl"]) {
        must_hold("F3");
    }
}

#[test]
fn f4_limits_are_exact_after_any_number_of_turns() {
    must_hold("F4");
}

const OPEN_FILES: u64 = 256;

/// Sessions before descriptors run out.
const OLD: usize = 40;

fn f1(kind: Kind, length: Length) -> Verdict {
    let long = length == Length::Long;
    let crowd = Crowd::start();
    let mut stage = Stage::new(kind);
    let (workers, sessions) = (Some(2), Some(2000));
    let setup = Setup { workers, sessions, quiet: true, ..Setup::before(&[crowd.address()]) };
    stage.start(&setup);
    let old = stage.connect_all(OLD);
    let began = old.iter().filter(|client| trip(client).is_some()).count();
    let processes = stage.proxy().processes();
    if !processes.iter().all(|process| lower_limit(*process)) {
        return Verdict { figure: "its limit cannot be lowered".to_owned(), met: false };
    }
    // From here on: it is full long before they have all come.
    let (full, lines) = (Instant::now(), stage.proxy().lines().unwrap_or(0));
    let mut new = stage.connect_all(1000);
    new.iter().for_each(|client| drop(client.stream().write_all(b"hello")));
    settle(&new);
    let cpu = load(&processes, Duration::from_secs(if long { 10 } else { 1 }));
    let lines = stage.proxy().lines().map(|now| now - lines);
    let most_lines = usize::try_from(full.elapsed().as_secs()).unwrap_or_default() + 1;
    let unaffected = old.iter().filter(|client| trip(client).is_some()).count();
    let turned_away = new.iter().filter(|it| !matches!(fate(it), Fate::Served | Fate::Waiting));
    let turned_away = turned_away.count();
    let resumed = free_three_times(old, &mut new);
    drop(new);
    // Of a process that has ended none is told.
    let died = processes.iter().any(|process| process.descriptors() == 0);
    if kind.is_forebay() {
        stage.expect_nothing_left("F1");
    }
    let bound = Duration::from_millis(150);
    Verdict {
        figure: format!(
            "{cpu:.1} % CPU, {unaffected} of {OLD} go on, resumed after {}, {turned_away} turned away{}",
            resumed.map_or("never".to_owned(), milliseconds),
            lines.map_or_else(String::new, |lines| format!(", {lines} lines in {most_lines} s")),
        ) + if died { "; it died" } else { "" },
        met: cpu < 5.0
            && (began, unaffected) == (OLD, OLD)
            && resumed.is_some_and(|resumed| resumed <= bound)
            && lines.is_none_or(|lines| (1..=most_lines).contains(&lines)),
    }
}

/// True exactly when it may have no more than `OPEN_FILES` from here on.
fn lower_limit(process: Process) -> bool {
    let limit = Rlimit { current: Some(OPEN_FILES), maximum: Some(OPEN_FILES) };
    let id = i32::try_from(process.id()).ok().and_then(Pid::from_raw);
    prlimit(id, Resource::Nofile, limit).is_ok()
}

/// Waits until nothing more happens to these clients.
fn settle(clients: &[Peer]) {
    let waiting = || clients.iter().filter(|client| fate(client) == Fate::Waiting).count();
    let mut last = (waiting(), Instant::now());
    comes_true(PATIENCE, || {
        let now = waiting();
        if now != last.0 {
            last = (now, Instant::now());
        }
        last.1.elapsed() > Duration::from_millis(200)
    });
}

/// Ends those who are served, three times; the middle one of the times until one of those who waited
/// is served. None if one was not.
fn free_three_times(mut served: Vec<Peer>, waiting: &mut Vec<Peer>) -> Option<Duration> {
    let mut times = Vec::new();
    for _ in 0..3 {
        served.extend(waiting.extract_if(.., |client| fate(client) != Fate::Waiting));
        let began = Instant::now();
        served.clear();
        let resumed =
            comes_true(PATIENCE, || waiting.iter().any(|client| fate(client) == Fate::Served));
        times.push(resumed.then(|| began.elapsed()));
        settle(waiting);
    }
    times.sort_by_key(|time| time.unwrap_or(Duration::MAX));
    times[1]
}

/// Source ports that there are, apart from those that the kernel chose before.
const PORTS: usize = 100;

fn f3(kind: Kind, _: Length) -> Verdict {
    let (one, three) = (ports(kind, 1), ports(kind, 3));
    let resets = |seen: &Ports| if kind.is_forebay() { seen.counted } else { seen.reset };
    Verdict {
        figure: format!("1 backend: {one}; 3 backends: {three}"),
        met: (one.served, one.reset, resets(&one)) == (PORTS, 2 * PORTS, 2 * PORTS)
            && (three.served, three.reset, resets(&three)) == (3 * PORTS, 0, 0)
            && one.used_again
            && (!kind.is_forebay() || (one.told, three.told) == (true, false))
            && one.cpu.max(three.cpu) < if cfg!(debug_assertions) { 15.0 } else { 5.0 },
    }
}

/// What three clients for each port saw.
struct Ports {
    served: usize,
    reset: usize,
    /// Sessions that the proxy says it could not connect.
    counted: usize,
    /// True exactly when its log says that there are no ports.
    told: bool,
    cpu: f64,
    used_again: bool,
}

impl std::fmt::Display for Ports {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { served, reset, cpu, .. } = self;
        write!(f, "{served} served, {reset} reset, {cpu:.1} % CPU")
    }
}

fn ports(kind: Kind, backends: usize) -> Ports {
    let netns = Netns::new();
    let crowds: Vec<Crowd> = netns.enter(|| (0..backends).map(|_| Crowd::start()).collect());
    let addresses: Vec<_> = crowds.iter().map(Crowd::address).collect();
    let mut stage = Stage::new(kind);
    let within = Some((&netns, IpAddr::V4(Ipv4Addr::LOCALHOST)));
    let (workers, sessions) = (Some(2), Some(2000));
    stage.start(&Setup { within, workers, sessions, ..Setup::before(&addresses) });
    stage.freeze();
    let mut clients = netns.enter(|| stage.connect_all(3 * PORTS));
    clients.iter().for_each(|client| drop(client.stream().write_all(b"hello")));
    let last = 20_000 + PORTS - 1;
    netns.run(&["sysctl", "-q", "-w", &format!("net.ipv4.ip_local_port_range=20000 {last}")]);
    stage.wake();
    let mut first = None;
    comes_true(PATIENCE, || {
        let all = clients.iter().map(fate).enumerate();
        first = all.into_iter().find(|(_, fate)| *fate != Fate::Waiting);
        first.is_some()
    });
    let cpu = load(&stage.proxy().processes(), Duration::from_secs(1));
    let mut fates = fates(&clients, PATIENCE);
    // Of the first end the kernel has told already.
    first.into_iter().for_each(|(at, fate)| fates[at] = fate);
    let (served, reset) = (count(&fates, Fate::Served), count(&fates, Fate::Reset));
    comes_true(PATIENCE, || !kind.is_forebay() || stage.proxy().reasons().len() >= reset);
    let reasons = stage.proxy().reasons();
    let counted = reasons.iter().filter(|reason| *reason == "connect_failed/connect").count();
    let told = stage.proxy().said().contains("no source port is left");
    // A reset leaves no port in TIME_WAIT.
    let leaves = fates.iter().position(|fate| *fate == Fate::Served);
    leaves.into_iter().for_each(|at| clients.swap_remove(at).reset());
    let used_again = comes_true(PATIENCE, || {
        // Each is a session, served or not.
        netns.enter(|| stage.try_connect()).is_some_and(|client| trip(&client).is_some())
    });
    drop(clients);
    if kind.is_forebay() {
        stage.expect_nothing_left("F3");
    }
    Ports { served, reset, counted, told, cpu, used_again }
}

/// Sessions that the limit lets in.
const N: usize = 48;

/// The limits, each of which is the one that refuses while the others have room for all.
const LIMITS: [&str; 5] = ["process", "listener", "source", "pool", "backend"];

fn f4(_: Kind, length: Length) -> Verdict {
    let turns = if length == Length::Long { 200_000 } else { 10_000 };
    let all = LIMITS.map(|which| (which, holds(which, turns)));
    let met = |waves: &Waves| {
        let exact = (N, N, true);
        (waves.before, waves.after, waves.rest) == (exact, exact, true)
            // The others were refused, or had left before they got so far.
            && waves.through > turns / 10
    };
    let sum = all.iter().map(|(_, waves)| waves.through).sum::<usize>();
    let unmet: Vec<String> = all
        .iter()
        .filter(|(_, waves)| !met(waves))
        .map(|(which, waves)| format!("; {which}: {waves:?}"))
        .collect();
    Verdict {
        figure: format!(
            "{} of 5 exact: {N} of 400 before and after, never more at once; {sum} of {} came through{}",
            LIMITS.len() - unmet.len(),
            LIMITS.len() * turns,
            unmet.concat(),
        ),
        met: unmet.is_empty(),
    }
}

/// What came of waves of clients before and after a churn: how many were served, how many at most at
/// once, and whether every permit came back.
#[derive(Debug)]
struct Waves {
    before: (usize, usize, bool),
    after: (usize, usize, bool),
    rest: bool,
    through: usize,
}

fn holds(which: &str, turns: usize) -> Waves {
    let counting = Counting::start();
    let mut stage = Stage::new(Kind::ALL[0]);
    stage.adopt(Box::new(Caps::only(which, N).start(&counting)), true);
    let (address, process) = (stage.address(), stage.proxy().processes()[0]);
    let sockets = process.sockets();
    let wave = || {
        counting.forget_peak();
        let served = all_at_once(address, 400 / THREADS).len();
        (served, counting.peak(), comes_to_rest(process, &counting, sockets))
    };
    let before = wave();
    churn(address, turns);
    let rest = comes_to_rest(process, &counting, sockets);
    let through = counting.accepted();
    let after = wave();
    stage.expect_nothing_left(which);
    Waves { before, after, rest, through }
}
