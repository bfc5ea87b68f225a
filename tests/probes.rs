//! Every kind of probe, against what it is made for and against who means it ill.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails loudly and says where")]

mod support;

#[path = "probes/exec.rs"]
mod exec;
#[path = "probes/haproxy.rs"]
mod haproxy;
#[path = "probes/hostile.rs"]
mod hostile;
#[path = "probes/http.rs"]
mod http;
#[path = "probes/postgres.rs"]
mod postgres;
#[path = "probes/promotion.rs"]
mod promotion;
#[path = "probes/redis.rs"]
mod redis;
#[path = "probes/send_expect.rs"]
mod send_expect;
#[path = "probes/tcp.rs"]
mod tcp;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::Value;
use support::{Forebay, Peer, SOON, Start, comes_true, eventually};

/// In front of these backends, probed every 50 ms by this kind; one probe decides.
fn probing(backends: &[SocketAddr], kind: &str) -> Forebay {
    probing_for(backends, kind, "1s")
}

/// As `probing`, with this bound on a probe.
fn probing_for(backends: &[SocketAddr], kind: &str, timeout: &str) -> Forebay {
    let probe = format!(
        "probe = {{ kind = {kind}, interval = \"50ms\", timeout = \"{timeout}\", rise = 1, fall = 1 }}"
    );
    Start::new(Forebay::simple(backends, &probe)).sessions().start()
}

/// What probes have found of a backend last: why it is unhealthy, or nothing if it is healthy.
fn verdict(forebay: &Forebay, backend: SocketAddr) -> Option<Result<(), String>> {
    let said = forebay.said();
    let lines = said.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut verdicts = lines.filter_map(|line| {
        let field = |name: &str| {
            let value = line.get(name).or_else(|| line.get("fields")?.get(name))?;
            Some(value.as_str()?.to_owned())
        };
        let message = field("message")?;
        if field("backend")? != backend.to_string() || !message.contains("healthy") {
            return None;
        }
        Some(if message.contains("unhealthy") { Err(field("reason")?) } else { Ok(()) })
    });
    verdicts.next()
}

/// Waits until probes have found it healthy.
#[track_caller]
fn expect_healthy(forebay: &Forebay, backend: SocketAddr) {
    let found = comes_true(SOON, || verdict(forebay, backend) == Some(Ok(())));
    assert!(found, "{backend} is not found healthy: {:?}", verdict(forebay, backend));
}

/// Waits until probes have found it unhealthy for this reason.
#[track_caller]
fn expect_unhealthy(forebay: &Forebay, backend: SocketAddr, reason: &str) {
    let expected = Some(Err(reason.to_owned()));
    let found = comes_true(SOON, || verdict(forebay, backend) == expected);
    assert!(found, "{backend}: expected {reason:?}, found {:?}", verdict(forebay, backend));
}

/// A probe that has found a silent backend out within 700 ms, where the machine lets it run.
const SOON_TOLD: &str =
    "interval = \"100ms\", fast_interval = \"50ms\", timeout = \"300ms\", rise = 1, fall = 2";

/// Its timeout.
const TOO_LONG: Duration = Duration::from_millis(300);

/// How often probes have found it unhealthy.
fn times_found_unhealthy(forebay: &Forebay, backend: SocketAddr) -> usize {
    let said = forebay.said();
    let of_backend = format!("\"backend\":\"{backend}\"");
    said.lines()
        .filter(|it| it.contains("backend is unhealthy") && it.contains(&of_backend))
        .count()
}

/// Waits until the log has told of the end of each of these sessions, by Forebay and once.
#[track_caller]
fn expect_ended_once(forebay: &Forebay, clients: &[Peer]) {
    let ends_of = |client: &Peer| -> Vec<String> {
        let sessions = forebay.sessions().into_iter();
        sessions.filter(|it| it.client == Some(client.local())).map(|it| it.reason).collect()
    };
    eventually(SOON, || clients.iter().all(|client| !ends_of(client).is_empty()));
    for client in clients {
        assert_eq!(ends_of(client), ["ended/relay"]);
    }
}

/// Plays a loss until sessions end within a second of it. A machine that is busy with other work may
/// let nobody run for so long, so the best of a minute counts; `None` is a play that does not count at
/// all, as a probe failed before the loss.
#[track_caller]
fn within_a_second(play: impl Fn() -> Option<Duration>) {
    let (began, mut times) = (Instant::now(), Vec::new());
    while began.elapsed() < Duration::from_secs(60) {
        let time = play();
        if time.is_some_and(|time| time <= Duration::from_secs(1)) {
            return;
        }
        times.push(time);
    }
    panic!("sessions end too late after the loss: {times:?}");
}
