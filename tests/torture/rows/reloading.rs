//! B: whatever changes in the file, nobody who is there or comes is lost.

use std::time::{Duration, Instant};

use fastrand::Rng;

use super::load::{Held, Load, failed, p99};
use crate::proxy::{Kind, Proxy as _, Setup};
use crate::rest::Rest;
use crate::row::{Length, Row, Verdict, When, must_hold};
use crate::stage::Stage;
use crate::support::{Backend, Forebay, Peer, Start, pause};

pub const ROWS: &[Row] = &[
    Row {
        name: "B1",
        what: "1,000 reloads that change the backends (peers: 50), under new connections and \
               beside 1,000 sessions whose bytes go round",
        should: "nobody fails, no session breaks; at least 2,000 connections a second; p99 of connecting and asking at most \
                 5 ms more than without; at most 1 MiB more memory",
        when: When::LongRun,
        peers: true,
        play: |kind, _| Verdict::of(b1(kind)),
    },
    Row {
        name: "B2",
        what: "10,000 files with a mistake in them, offered for reload",
        should: "0 change anything; every error names its file, line and column",
        when: When::Commit,
        peers: false,
        play: b2,
    },
    Row {
        name: "B4",
        what: "200 reloads (peers: 50) to 1, 2 and 4 workers in turn, and a listener that comes and goes (Forebay), under \
               new connections and beside 100 sessions",
        should: "nobody fails, no session breaks",
        when: When::LongRun,
        peers: true,
        play: |kind, _| Verdict::of(b4(kind)),
    },
];

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn b1_reloads_under_load_fail_nobody() {
    must_hold("B1");
}

#[test]
fn b2_mutated_files_change_nothing_and_every_error_names_its_line() {
    must_hold("B2");
}

#[test]
#[ignore = "long: sh tests/torture.sh long"]
fn b4_workers_come_and_go_and_nobody_notices() {
    must_hold("B4");
}

/// The longest that the reloads of a row may take in all.
const ENOUGH: Duration = Duration::from_secs(90);

/// What came of many reloads.
struct Churned {
    reloads: usize,
    /// True exactly when there were as many as asked for.
    all: bool,
    took: Duration,
}

/// Reloads to each setup after the other, until there were so many or it has taken long enough; what the
/// proxy said against one of them.
fn churn<'a>(
    stage: &Stage,
    count: usize,
    setup: impl Fn(usize) -> Setup<'a>,
) -> Result<Churned, String> {
    // Peers may overlook a reload while they are at the last one.
    let rest = Duration::from_millis(if stage.kind().is_forebay() { 30 } else { 100 });
    let (began, mut reloads) = (Instant::now(), 0);
    while reloads < count && began.elapsed() < ENOUGH {
        stage.proxy().reload(&setup(reloads + 1))?;
        reloads += 1;
        pause(rest);
    }
    Ok(Churned { reloads, all: reloads == count, took: began.elapsed() })
}

fn b1(kind: Kind) -> Result<Verdict, String> {
    let backends: Vec<Backend> = (0..3).map(|_| Backend::echo()).collect();
    let addresses: Vec<_> = backends.iter().map(Backend::address).collect();
    let setup = |number: usize| Setup {
        workers: Some(2),
        sessions: Some(1000),
        reloads: true,
        ..Setup::before(&addresses[..2 + number % 2])
    };
    let mut stage = Stage::new(kind);
    stage.start(&setup(0));
    let held = Held::connect(&stage, 1000)?;
    let load = Load { threads: 4, every: Duration::ZERO };
    let ((before, _), (visits, churned), grown) = held.during(|| {
        // What a run allocates once is there before it is measured.
        let _ = load.during(&stage, || churn(&stage, 10, setup));
        let before = load.during(&stage, || pause(Duration::from_secs(3)));
        let memory = stage.resident();
        let count = if kind.is_forebay() { 1000 } else { 50 };
        let under = load.during(&stage, || churn(&stage, count, setup));
        (before, under, stage.resident().saturating_sub(memory))
    });
    let (broken, churned) = (held.finish(), churned?);
    let (failures, more) = (failed(&visits), p99(&visits) - p99(&before));
    let rate = visits.len() as f64 / churned.took.as_secs_f64();
    let met =
        failures + broken == 0 && churned.all && rate >= 2000.0 && more <= 5.0 && grown <= 1 << 20;
    let figure = format!(
        "{failures} of {} failed, {broken} of 1,000 sessions broken; p99 {:.1} ms, {:.1} without; {} KiB more; {} reloads \
         in {:.0} s, {rate:.0} connections/s",
        visits.len(),
        p99(&visits),
        p99(&before),
        grown >> 10,
        churned.reloads,
        churned.took.as_secs_f64(),
    );
    if kind.is_forebay() && met {
        stage.expect_nothing_left("B1");
    }
    Ok(Verdict { figure, met })
}

fn b4(kind: Kind) -> Result<Verdict, String> {
    let backend = Backend::echo();
    let setup = |number: usize| Setup {
        // Sockets of the most workers that there ever were stay: these are the first.
        workers: Some([4, 1, 2][number % 3]),
        reloads: true,
        tables: match number % 2 {
            0 => "",
            _ => "[listener.more]\naddress = \"127.0.0.1:0\"\npool = \"web000\"\n",
        },
        ..Setup::before(&[backend.address()])
    };
    let mut stage = Stage::new(kind);
    stage.start(&setup(0));
    let held = Held::connect(&stage, 100)?;
    let load = Load { threads: 4, every: Duration::ZERO };
    // The last one is like the first, so that what is left can be compared.
    let count = if kind.is_forebay() { 204 } else { 48 };
    let (visits, churned) = held.during(|| load.during(&stage, || churn(&stage, count, setup)));
    let (broken, churned) = (held.finish(), churned?);
    let failures = failed(&visits);
    let met = failures + broken == 0 && churned.all;
    let figure = format!(
        "{failures} of {} failed, {broken} of 100 sessions broken; {} reloads",
        visits.len(),
        churned.reloads
    );
    if kind.is_forebay() && met {
        stage.expect_nothing_left("B4");
    }
    Ok(Verdict { figure, met })
}

/// What a hasty hand or a broken template puts where a value should be.
const VALUES: [&str; 6] = ["-1", "\"off\"", "[1, {}]", "\"\"", "{ a = 1 }", "\"[::]:http\""];

/// The file with a mistake in it, most of the time.
fn mutated(good: &str, random: &mut Rng) -> String {
    let mut lines: Vec<String> = good.lines().map(str::to_owned).collect();
    let (one, other) = (random.usize(2..lines.len()), random.usize(2..lines.len()));
    match random.u8(0..4) {
        0 => drop(lines.remove(one)),
        1 => lines.insert(other, lines[one].clone()),
        2 => {
            let half = lines[one].len() / 2;
            lines[one].truncate(half);
        }
        _ => {
            let key = lines[one].split('=').next().unwrap_or_default().to_owned();
            lines[one] = format!("{key}= {}", random.choice(VALUES).unwrap());
        }
    }
    lines.join("\n")
}

fn b2(_kind: Kind, _length: Length) -> Verdict {
    let offers = 10_000;
    let backend = Backend::echo();
    let good = format!(
        "[reload]\nwatch = \"off\"\n[listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\nmax_connections = 7\n\
         [pool.app]\nbackends = [\"{}\"]\nconnect = {{ timeout = \"2s\" }}\n",
        backend.address()
    );
    let mut forebay = Start::new(&*good).in_memory().start();
    let address = Forebay::address(&forebay, "web");
    // What a reload allocates once is there before anything is compared.
    let broken = mutated(&good, &mut Rng::with_seed(0));
    [&broken, &good].into_iter().for_each(|file| drop(Forebay::reload(&forebay, file)));
    let rest = Rest::of(&forebay);
    let mut client = Peer::connect(address);
    let serves = |client: &mut Peer| {
        client.ask(b"hello").is_ok() && Peer::connect(address).ask(b"hello").is_ok()
    };
    let (mut generation, mut refused, mut changed, mut nameless) =
        (forebay.status().generation(), 0, 0, 0);
    for seed in 0..offers {
        let status = Forebay::reload(&forebay, &mutated(&good, &mut Rng::with_seed(seed)));
        if status.outcome() == "refused" {
            refused += 1;
            changed += u64::from(status.generation() != generation);
            let named = |it: &serde_json::Value| {
                it["file"].is_string() && it["line"].is_u64() && it["column"].is_u64()
            };
            let errors = status.problems().iter().filter(|it| it["severity"] == "error");
            nameless += u64::from(status.problems().is_empty() || !errors.into_iter().all(named));
        } else {
            // No mistake: back to the file of the start.
            generation = Forebay::reload(&forebay, &good).generation();
        }
        changed += u64::from(seed % 50 == 0 && !serves(&mut client));
    }
    drop(client);
    assert!(!forebay.said().contains("panicked"), "{}", forebay.said());
    rest.expect_back(&forebay, "B2", 0);
    forebay.stop();
    let figure =
        format!("{refused} refused: {changed} changed something, {nameless} name no place");
    Verdict { figure, met: changed + nameless == 0 && refused > offers / 2 }
}
