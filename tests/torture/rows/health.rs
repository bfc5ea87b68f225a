//! C, by probes: a backend is silent, asleep, or gone, and is found out.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::load::{Load, failed};
use crate::crowd::{milliseconds, percentile};
use crate::proxy::{Kind, Proxy, Setup};
use crate::rest::Rest;
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::stage::Stage;
use crate::support::{
    Backend, End, Forebay, Netns, Peer, Process, SOON, Server, SessionLine, Start, comes_true,
    left_out, pause, root_or_left_out,
};

pub const ROWS: &[Row] = &[
    Row {
        name: "C2",
        what: "packets to and from one of 3 backends are dropped under 8 clients at once; `connect.timeout` is 0.25 s, probes each 0.25 s \
               with a timeout of 0.25 s, `fall` 3",
        should: "no new connection fails, each within 0.35 s; the backend is out within 1.1 s, and nobody is sent there then (at every \
                 commit and for a debug build: the times are not judged)",
        when: When::Commit,
        peers: false,
        play: c2,
    },
    Row {
        name: "C3",
        what: "a Redis is stopped by SIGSTOP, and goes on later; probes each 0.25 s with a timeout of 0.25 s, `fall` 3, `rise` 2",
        should: "a PING finds it out within 1.1 s (not judged at every commit and for a debug build), and finds it back; a connect does not",
        when: When::Commit,
        peers: false,
        play: c3,
    },
    Row {
        name: "C5",
        what: "3 of 5 backends are gone, with `panic_threshold` at 40 % and at 41 %, then 4, then the last; probes each 0.05 s",
        should: "at 40 % the two that are left serve all at the first attempt, at 41 % also those are tried that are gone, and all are \
                 served; so they are by the last one, at once; then clients get RST within 50 ms (at every commit the middle one of 5)",
        when: When::Commit,
        peers: false,
        play: c5,
    },
];

#[test]
fn c2_no_new_client_sees_a_backend_that_answers_nothing() {
    if !root_or_left_out() && !left_out(&["ip", "nft"]) {
        must_hold("C2");
    }
}

#[test]
fn c3_a_backend_that_sleeps_is_found_by_a_question() {
    if !left_out(&["redis-server"]) {
        must_hold("C3");
    }
}

#[test]
fn c5_who_is_left_serves_all_and_nobody_waits_for_nobody() {
    must_hold("C5");
}

/// From one probe to the next, and the longest that one may take.
const INTERVAL: Duration = Duration::from_millis(250);

/// Probes in a row that make a backend unhealthy.
const FALL: u32 = 3;

/// What a machine may add to a bound.
const SLACK: Duration = Duration::from_millis(100);

/// Nothing but such probes leaves a backend out.
fn probed(kind: &str) -> String {
    let interval = INTERVAL.as_millis();
    format!(
        "eject = false\nprobe = {{ kind = {kind}, interval = \"{interval}ms\", fast_interval = \"{interval}ms\", \
         timeout = \"{interval}ms\", rise = 2, fall = {FALL} }}\n"
    )
}

/// True exactly when times are judged: a busy machine or a debug build says nothing about them.
fn judged(length: Length) -> bool {
    length == Length::Long && !cfg!(debug_assertions)
}

/// True exactly when it took as many probes as are asked for to find a backend out, and no more.
fn found_out(after: Duration, length: Length) -> bool {
    // Less by what it took to learn that the fault was there.
    let probes = after >= INTERVAL * (FALL - 1);
    probes && (!judged(length) || after <= INTERVAL * FALL + INTERVAL + SLACK)
}

/// How often it has told this of the backend.
fn told(said: &str, message: &str, backend: SocketAddr) -> usize {
    let of_it = format!("\"{backend}\"");
    said.lines().filter(|line| line.contains(message) && line.contains(&of_it)).count()
}

const HEALTHY: &str = "backend is healthy";
const UNHEALTHY: &str = "backend is unhealthy";

/// Waits until this has been told of all of them, which is said once; false if it has not.
fn all_told(said: impl Fn() -> String, message: &str, backends: &[SocketAddr]) -> bool {
    comes_true(SOON, || {
        let said = said();
        backends.iter().all(|backend| told(&said, message, *backend) > 0)
    })
}

/// Sends back the first bytes, then waits for the end.
fn answer(peer: &mut Peer) {
    if let Ok(bytes) = peer.read_some(64) {
        peer.send(&bytes);
        let _ = peer.read_some(1);
    }
}

/// A client after the other; how many were served.
fn served(stage: &Stage, clients: usize) -> usize {
    let one = |_: &usize| {
        let client = stage.try_connect();
        client.is_some_and(|mut client| {
            let answered = client.ask(b"hello").is_ok();
            client.reset();
            answered
        })
    };
    (0..clients).filter(one).count()
}

/// How many of the last sessions were somewhere else at first, once so many in all have ended.
fn moved(stage: &Stage, all: usize, last: usize) -> usize {
    let sessions = || {
        let said = stage.proxy().said();
        said.lines().filter_map(SessionLine::read).collect::<Vec<_>>()
    };
    comes_true(SOON, || stage.proxy().ended().is_some_and(|ended| ended >= all));
    sessions().iter().rev().take(last).filter(|session| session.attempts != 1).count()
}

/// Clients of whom none may meet a backend that is known to be unhealthy.
const LATER: usize = 30;

fn c2(kind: Kind, length: Length) -> Verdict {
    let netns = Netns::new();
    let at = |last| Backend::at((Ipv4Addr::new(127, 0, 0, last), 0).into(), answer);
    let backends: Vec<Backend> = netns.enter(|| (2..5).map(at).collect());
    let addresses: Vec<SocketAddr> = backends.iter().map(Backend::address).collect();
    let mut stage = Stage::new(kind);
    stage.start(&Setup {
        connect: Some(INTERVAL),
        within: Some((&netns, IpAddr::V4(Ipv4Addr::LOCALHOST))),
        pool: &probed("\"tcp\""),
        ..Setup::before(&addresses)
    });
    let known = all_told(|| stage.proxy().said(), HEALTHY, &addresses);
    let before = netns.enter(|| served(&stage, LATER));
    netns.run(&[
        "nft",
        "table inet hole {\nchain dropping {\ntype filter hook input priority 0\n\
         ip daddr 127.0.0.2 drop\nip saddr 127.0.0.2 drop\n}\n}\n",
    ]);
    let began = Instant::now();
    let load = Load { threads: 8, every: Duration::from_millis(10) };
    let out = || {
        let told = all_told(|| stage.proxy().said(), UNHEALTHY, &addresses[..1]);
        told.then(|| began.elapsed())
    };
    let (visits, out) = netns.enter(|| load.during(&stage, out));
    let all = LATER + visits.len();
    moved(&stage, all, 0);
    let after = netns.enter(|| served(&stage, LATER));
    let sent_there = moved(&stage, all + LATER, LATER);
    let waited = visits.iter().filter(|visit| visit.took >= INTERVAL).count();
    let slowest = visits.iter().map(|visit| visit.took).max().unwrap_or_default();
    let figure = format!(
        "{} of {} failed, {waited} moved on, the slowest after {}; out after {}; {sent_there} of {after} sent there then",
        failed(&visits),
        visits.len(),
        milliseconds(slowest),
        out.map_or_else(|| "never".to_owned(), milliseconds),
    );
    let in_time = !judged(length) || slowest <= INTERVAL + SLACK;
    let found = out.is_some_and(|after| found_out(after, length));
    // Somebody must have met it, or nothing was played.
    let none = failed(&visits) == 0 && before == LATER && after == LATER && waited > 0;
    let met = known && none && in_time && found && sent_there == 0;
    if met {
        stage.expect_nothing_left("C2");
    }
    Verdict { figure, met }
}

/// A Redis that answers one client after the other; how many of so many had an answer.
fn pongs(forebay: &Forebay, clients: usize) -> usize {
    let one = |_: &usize| {
        let mut client = Peer::connect(forebay.address("web"));
        client.send(b"PING\r\n");
        client.line().as_deref() == Some("+PONG\r")
    };
    (0..clients).filter(one).count()
}

fn c3(_: Kind, length: Length) -> Verdict {
    let directory = tempfile::tempdir().unwrap();
    let redis = || {
        Server::on_port(directory.path(), |port| {
            let port = port.to_string();
            let words = ["redis-server", "--bind", "127.0.0.1", "--save", "", "--port", &port];
            words.map(str::to_owned).into()
        })
    };
    let ((one, sleeper), (_two, other)) = (redis(), redis());
    let start = |kind: &str| {
        let config = Forebay::simple(&[sleeper, other], &probed(kind));
        Start::new(config).sessions().start()
    };
    let ping = r#"{ send-expect = { steps = [{ send = "PING\r\n" }, { expect = "+PONG" }] } }"#;
    let (mut asking, mut connecting) = (start(ping), start("\"tcp\""));
    let known = all_told(|| asking.said(), HEALTHY, &[sleeper, other])
        && all_told(|| connecting.said(), HEALTHY, &[sleeper, other]);
    let rests = [&asking, &connecting].map(|it| Rest::of(it));
    let before = pongs(&asking, 10) + pongs(&connecting, 10);
    let process = Process::new(one.id());
    process.signal(Signal::STOP);
    let began = Instant::now();
    let out = all_told(|| asking.said(), UNHEALTHY, &[sleeper]);
    let out = out.then(|| began.elapsed());
    let meanwhile = pongs(&asking, 10);
    // Time for a connect to find it out too, if it could.
    pause(INTERVAL * (FALL + 2));
    let by_connects = connecting.said().contains(UNHEALTHY);
    process.signal(Signal::CONT);
    let began = Instant::now();
    let back = comes_true(SOON, || told(&asking.said(), HEALTHY, sleeper) > 1);
    let back = back.then(|| began.elapsed());
    let after = pongs(&asking, 10);
    for (forebay, rest) in [&mut asking, &mut connecting].into_iter().zip(rests) {
        rest.expect_back(forebay, "C3", 0);
        Proxy::stop(forebay);
    }
    let time = |it: Option<Duration>| it.map_or_else(|| "never".to_owned(), milliseconds);
    let figure = format!(
        "out after {}, by a connect {}; {meanwhile} of 10 served; back after {}",
        time(out),
        if by_connects { "too" } else { "never" },
        time(back),
    );
    let found = known && out.is_some_and(|after| found_out(after, length));
    let met = found && back.is_some() && !by_connects && (before, meanwhile, after) == (20, 10, 10);
    Verdict { figure, met }
}

/// Backends behind a proxy whose `panic_threshold` is so many percent.
struct Dying {
    stage: Stage,
    backends: Vec<Backend>,
    addresses: Vec<SocketAddr>,
    visited: usize,
}

impl Dying {
    fn start(kind: Kind, threshold: u8) -> Self {
        let backend = |_| Backend::at((Ipv4Addr::LOCALHOST, 0).into(), answer);
        let backends: Vec<Backend> = (0..5).map(backend).collect();
        let addresses: Vec<SocketAddr> = backends.iter().map(Backend::address).collect();
        let mut stage = Stage::new(kind);
        let pool = format!(
            "eject = false\npanic_threshold = \"{threshold}%\"\nconnect = {{ attempts = 5, retry_budget = \"100%\" }}\n\
             probe = {{ interval = \"50ms\", timeout = \"500ms\" }}\n"
        );
        stage.start(&Setup { pool: &pool, ..Setup::before(&addresses) });
        Self { stage, backends, addresses, visited: 0 }
    }

    /// Lets only so many live, and waits until that is known; how many of `LATER` clients were served,
    /// and how many of them not at the first attempt.
    fn visit_few(&mut self, left: usize) -> Option<(usize, usize)> {
        let gone = left < self.backends.len();
        self.backends.truncate(left);
        let (message, which) = if gone {
            (UNHEALTHY, &self.addresses[left..])
        } else {
            (HEALTHY, &self.addresses[..])
        };
        let known = all_told(|| self.stage.proxy().said(), message, which);
        let after = served(&self.stage, LATER);
        self.visited += LATER;
        known.then(|| (after, moved(&self.stage, self.visited, LATER)))
    }

    /// Clients of whom nobody is left; how many were reset, and how long each waited for it.
    fn visit_nobody(&mut self) -> (usize, Vec<Duration>) {
        self.backends.clear();
        all_told(
            || self.stage.proxy().said(),
            "the last backend is unhealthy",
            &self.addresses[..1],
        );
        let reset = |_| {
            let began = Instant::now();
            let client = self.stage.try_connect();
            let end = client.map(|mut client| client.ask(b"hello"));
            (matches!(end, None | Some(Err(Some(End::Reset)))), began.elapsed())
        };
        let resets: Vec<(bool, Duration)> = (0..5).map(reset).collect();
        self.visited += 5;
        let refused = resets.iter().filter(|(it, _)| *it).count();
        (refused, resets.into_iter().map(|(_, after)| after).collect())
    }
}

fn c5(kind: Kind, length: Length) -> Verdict {
    let [mut never, mut calm, mut panics] =
        [0, 40, 41].map(|threshold| Dying::start(kind, threshold));
    let before = [never.visit_few(5), calm.visit_few(5), panics.visit_few(5)];
    let (two, all, last) = (calm.visit_few(2), panics.visit_few(2), never.visit_few(1));
    let (refused, mut times) = never.visit_nobody();
    let (middle, slowest) = (percentile(&mut times, 50), percentile(&mut times, 100));
    let text = |seen: Option<(usize, usize)>| {
        seen.map_or("never found out".to_owned(), |(served, moved)| {
            format!("{served} of {LATER} served, {moved} not at once")
        })
    };
    let figure = format!(
        "2 left at 40 %: {}; at 41 %: {}; 1 left: {}; none: {refused} of 5 reset after {} (middle), at most {}",
        text(two),
        text(all),
        text(last),
        milliseconds(middle),
        milliseconds(slowest),
    );
    let at_once = before.iter().chain([&two, &last]).all(|it| *it == Some((LATER, 0)));
    let panicked = all.is_some_and(|(served, moved)| served == LATER && moved > 0);
    let bound = Duration::from_millis(50);
    let in_time = middle <= bound && (!judged(length) || slowest <= bound);
    let met = at_once && panicked && refused == 5 && in_time;
    if met {
        [never, calm, panics].iter_mut().for_each(|it| it.stage.expect_nothing_left("C5"));
    }
    Verdict { figure, met }
}
