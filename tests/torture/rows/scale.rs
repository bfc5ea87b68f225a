//! H: many backends, many listeners, many sources.

use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use forebay::config::{PerSource, Rate};
use forebay::model::{SOURCES_MAX, SourcePermit, Sources};
use hdrhistogram::Histogram;

use crate::crowd::{SLOWER, milliseconds, percentile, trip};
use crate::proxy::{Kind, Proxy};
use crate::rest::Rest;
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::support::{Backend, Forebay, Peer, Process, SOON, Start, eventually, pause};

pub const ROWS: &[Row] = &[
    Row {
        name: "H1",
        what: "1,000 listeners and 10,000 backends are reloaded under load, 20 times (8 times at every commit)",
        should: "each is applied and each client served; reading + applying ≤ 100 ms, no turn of a worker that takes it into use > 5 ms, p99.9 of round trips ≤ 10 ms more than without (at every commit, and again for a debug build: ten times that)",
        when: When::Commit,
        peers: false,
        play: h1,
    },
    Row {
        name: "H2",
        what: "2,000,000 sources come and go, beside 10,000 that stay, against the table of sources",
        should: "at most 192 MiB; no session is forgotten; p99 of a lookup is at most 4 times that among 10,000, or 10 µs (a debug build: ten times that)",
        when: When::LongRun,
        peers: false,
        play: h2,
    },
];

#[test]
fn h1_a_thousand_listeners_and_ten_thousand_backends_are_reloaded_under_load() {
    must_hold("H1");
}

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn h2_a_million_sources_cost_bounded_memory_and_time() {
    must_hold("H2");
}

const LISTENERS: usize = 1000;

/// Memory that may stay of the snapshots of any number of reloads.
const SNAPSHOTS: u64 = 16 << 20;
const BACKENDS: usize = 10;

fn h1(_: Kind, length: Length) -> Verdict {
    let long = length == Length::Long;
    let reloads = if long { 20 } else { 8 };
    let backend = Backend::echo();
    let start = Start::new(file(1, &backend)).variable("FOREBAY_LOG", "info,forebay::worker=debug");
    let mut forebay = start.start();
    // What the first of such reloads takes is there before memory is compared.
    let first = forebay.reload(&file(2, &backend)).outcome() == "applied";
    let rest = Rest::of(&forebay).with_room(SNAPSHOTS);
    let (mut calm, _) = under_load(&forebay, || {
        pause(Duration::from_millis(500));
        true
    });
    // Written beforehand, for it is work too.
    let files: Vec<String> = (3..3 + reloads).map(|weight| file(weight, &backend)).collect();
    let (mut busy, applied) = under_load(&forebay, || {
        files.iter().all(|file| {
            let status = forebay.reload(file);
            status.outcome() == "applied" && status.changes().len() == LISTENERS + 1
        })
    });
    eventually(SOON, || backend.live() == 0);
    rest.expect_back(&forebay, "H1", 0);
    Proxy::stop(&mut forebay);
    let said = forebay.said();
    let times = times_in(&said, &["read_in=", "applied_in="]);
    let mut times: Vec<Duration> = times.skip(1).collect();
    let turns: Vec<Duration> = times_in(&said, &["turn="]).collect();
    let told = times.len() == reloads && turns.len() >= reloads;
    let turn = turns.into_iter().max().unwrap_or_default();
    let (time, calm, busy) =
        (percentile(&mut times, 50), per_mille(&mut calm), per_mille(&mut busy));
    // A commit is played on a machine that has other things to do.
    let slower = SLOWER * if long { 1 } else { 10 };
    let stall = slower * Duration::from_millis(5);
    let fast =
        time <= slower * Duration::from_millis(100) && turn <= stall && busy <= calm + 2 * stall;
    Verdict {
        figure: format!(
            "{}; longest turn {}; p99.9 {}, {} without",
            milliseconds(time),
            milliseconds(turn),
            milliseconds(busy),
            milliseconds(calm)
        ),
        met: first && applied && told && fast,
    }
}

/// Pools of ten backends each, of which the first answers.
fn file(weight: usize, backend: &Backend) -> String {
    let mut text = "[reload]\nwatch = \"off\"\n[runtime]\nworkers = 2\n".to_owned();
    for number in 0..LISTENERS {
        let (high, low) = (number / 250, number % 250);
        write!(
            text,
            "[listener.l{number}]\naddress = \"127.0.0.1:0\"\npool = \"p{number}\"\n\
             [pool.p{number}]\nbalance = \"first\"\nbackends = [\"{}\"",
            backend.address()
        )
        .unwrap();
        for other in 1..BACKENDS {
            write!(text, ", {{ address = \"127.{high}.{low}.{other}:9\", weight = {weight} }}")
                .unwrap();
        }
        text += "]\n";
    }
    text
}

/// The sums of these fields of the lines that have all of them.
fn times_in<'a>(said: &'a str, fields: &'a [&str]) -> impl Iterator<Item = Duration> + 'a {
    said.lines().filter_map(|line| fields.iter().map(|field| time_of(line, field)).sum())
}

/// A time in a line of the log.
fn time_of(line: &str, field: &str) -> Option<Duration> {
    let text = line.split_once(field)?.1.split_whitespace().next()?;
    let unit = text.find(|it: char| it.is_alphabetic() || it == 'µ')?;
    let number: f64 = text[..unit].parse().ok()?;
    let scale = match &text[unit..] {
        "s" => 1.0,
        "ms" => 1e-3,
        "µs" => 1e-6,
        _ => 1e-9,
    };
    Some(Duration::from_secs_f64(number * scale))
}

/// Does `work` while clients of both workers ask; how long their round trips took, and what came of
/// the work.
fn under_load(forebay: &Forebay, work: impl FnOnce() -> bool) -> (Vec<Duration>, bool) {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4)
            .map(|number| {
                let address = forebay.address(&format!("l{number}"));
                let stop = &stop;
                scope.spawn(move || round_trips(address, stop))
            })
            .collect();
        let done = work();
        stop.store(true, Ordering::SeqCst);
        (clients.into_iter().flat_map(|client| client.join().unwrap()).collect(), done)
    })
}

/// How often a client asks.
const EVERY: Duration = Duration::from_millis(1);

/// How long each round trip took from when it was due: one that is late makes the next ones late too.
fn round_trips(address: SocketAddr, stop: &AtomicBool) -> Vec<Duration> {
    let (client, mut times) = (Peer::connect(address), Vec::new());
    let mut due = Instant::now();
    while !stop.load(Ordering::SeqCst) {
        due += EVERY;
        pause(due.saturating_duration_since(Instant::now()));
        trip(&client).expect("served");
        times.push(due.elapsed());
    }
    times
}

/// All but one of a thousand took no longer.
fn per_mille(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times.get(times.len().saturating_sub(1) * 999 / 1000).copied().unwrap_or_default()
}

/// What the table may take: 132 MiB for its sources, and some of what it grew out of.
const TABLE: u64 = 192 << 20;

/// Sources that have a session all the time.
const HELD: u32 = 10_000;

fn h2(_: Kind, length: Length) -> Verdict {
    let sources: u32 = if length == Length::Long { 1_000_000 } else { 50_000 };
    let rate = Some(Rate { count: 1, per: Duration::from_secs(3600) });
    let settings = PerSource { max_connections: Some(2), rate, ipv6_prefix: 64 };
    let (epoch, own) = (Instant::now(), Process::new(std::process::id()));
    let before = own.resident();
    let table = Arc::new(Sources::new(&settings, epoch));
    let admit = |number: u32| {
        let began = Instant::now();
        let permit = table.admit(IpAddr::V4(Ipv4Addr::from_bits(number)), epoch);
        (permit, began.elapsed())
    };
    // Not in a list, whose memory would be taken for the table's.
    let p99 = |numbers: &mut dyn Iterator<Item = u32>| {
        let mut times = Histogram::<u64>::new(2).unwrap();
        numbers.for_each(|number| {
            times.record(u64::try_from(admit(number).1.as_nanos()).unwrap()).unwrap();
        });
        Duration::from_nanos(times.value_at_quantile(0.99))
    };
    let held: Vec<SourcePermit> = (0..HELD).filter_map(|number| admit(number).0.ok()).collect();
    // Further sessions of sources that are there: found, and refused for their rate.
    let few = p99(&mut (0..HELD));
    let come = p99(&mut (HELD..sources));
    let many = p99(&mut (0..HELD));
    // As many again: the oldest memory goes for each of them.
    let more = p99(&mut (sources..2 * sources));
    let grown = own.resident().saturating_sub(before);
    let (sessions, remembered) = (table.sessions(), table.count_sources());
    drop(held);
    let left = table.sessions();
    Verdict {
        figure: format!(
            "{} MiB for {remembered}; p99 {few:?} among 10,000, {many:?} among all; of newcomers {come:?}, then {more:?}",
            grown >> 20
        ),
        met: grown <= TABLE
            && remembered <= SOURCES_MAX
            && (sessions, left) == (u64::from(HELD), 0)
            && many.max(come).max(more) <= (4 * few).max(SLOWER * Duration::from_micros(10)),
    }
}
