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

use serde_json::Value;
use support::{Forebay, SOON, Start, comes_true};

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
