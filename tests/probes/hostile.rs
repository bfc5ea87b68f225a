//! Backends that answer garbage, megabytes, or hardly at all: a failed probe with a reason, in bounds.

use std::time::Duration;

use super::*;
use crate::support::{Backend, pause};

const KINDS: [&str; 4] = [
    r#"{ send-expect = { steps = [{ expect = "+PONG" }] } }"#,
    r#"{ http = { body = "ready" } }"#,
    r#"{ redis-master = { password = "x" } }"#,
    r#"{ postgres-primary = { user = "x" } }"#,
];

/// Says the beginning of an answer and then more of the same, as fast as it is let.
fn endless(head: &'static str, more: &'static str) -> Backend {
    Backend::scripted(move |peer| {
        use std::io::Write as _;
        let _ = peer.stream().write_all(head.as_bytes());
        let more = more.repeat(1 + 64 * 1024 / more.len());
        while peer.stream().write_all(more.as_bytes()).is_ok() {}
    })
}

#[test]
fn megabytes_are_cut_short_without_being_held() {
    let http = "HTTP/1.1 200 OK\r\nA: b\r\n\r\n";
    let over = "the answer is over 64 KiB";
    let steps = format!("step 1: expected \"+PONG\", got \"{}\"…: {over}", "x".repeat(80));
    let not_http = format!("the answer is not HTTP: \"{}\"…", "x".repeat(80));
    let not_redis = format!("no answer to AUTH: \"{}\"…", "x".repeat(80));
    let not_postgres = format!("the answer is not PostgreSQL's: \"{}\"…", "x".repeat(80));
    for (kind, head, more, reason) in [
        (KINDS[0], "", "x", &*steps),
        (KINDS[1], "", "x", &not_http),
        (KINDS[1], http, "x", over),
        (KINDS[1], "HTTP/1.1 200 OK\r\nA: ", "x", over),
        (KINDS[1], "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", over),
        (KINDS[2], "", "x", &not_redis),
        (KINDS[2], "+", "x", over),
        (KINDS[3], "", "x", &not_postgres),
        (KINDS[3], "", "N\0\0\0\x04", over),
        (KINDS[3], "R\0\0\x7f\0", "x", "it wants login method 2021161080, which is not supported"),
    ] {
        let backend = endless(head, more);
        let forebay = probing_for(&[backend.address()], kind, "5s");
        let before = forebay.resident();
        expect_unhealthy(&forebay, backend.address(), reason);
        let grown = forebay.resident().saturating_sub(before);
        assert!(grown < 8 << 20, "{kind}: {grown} bytes more");
    }
}

#[test]
fn a_byte_at_a_time_is_bounded_by_the_timeout() {
    let backend = Backend::scripted(|peer| {
        use std::io::Write as _;
        while peer.stream().write_all(b"+").is_ok() {
            pause(Duration::from_millis(100));
        }
    });
    for (kind, reason) in KINDS.into_iter().zip([
        "timed out after 250ms at step 1: expected \"+PONG\", got \"+",
        "the answer is not HTTP: \"+\"",
        "timed out after 250ms at the answer to AUTH",
        "the answer is not PostgreSQL's: \"+\"",
    ]) {
        let forebay = probing_for(&[backend.address()], kind, "250ms");
        let found = || verdict(&forebay, backend.address());
        let right = || matches!(found(), Some(Err(said)) if said.starts_with(reason));
        assert!(comes_true(SOON, right), "{kind}: {:?}", found());
    }
}

#[test]
fn garbage_silence_and_resets_have_their_reasons() {
    let garbage = Backend::scripted(|peer| peer.send(b"\0\xff\x1b[2J"));
    let silent = Backend::silent();
    let resetting = Backend::scripted(|peer| {
        let _ = peer.read_some(1);
        peer.reset_when_closed();
    });
    let shown = "\"\\0\u{fffd}\\u{1b}[2J\"";
    for (kind, reasons) in KINDS.into_iter().zip([
        [
            format!("step 1: expected \"+PONG\", got {shown}, then the connection was closed"),
            "timed out after 250ms at step 1: expected \"+PONG\"".to_owned(),
        ],
        [
            format!("the answer is not HTTP: {shown}"),
            "timed out after 250ms at the answer".to_owned(),
        ],
        [
            format!("no answer to AUTH: {shown}"),
            "timed out after 250ms at the answer to AUTH".to_owned(),
        ],
        [
            format!("the answer is not PostgreSQL's: {shown}"),
            "timed out after 250ms at the login".to_owned(),
        ],
    ]) {
        let all = [garbage.address(), silent.address(), resetting.address()];
        let forebay = probing_for(&all, kind, "250ms");
        let [said, nothing] = reasons;
        expect_unhealthy(&forebay, garbage.address(), &said);
        expect_unhealthy(&forebay, silent.address(), &nothing);
        if !kind.contains("steps") {
            expect_unhealthy(&forebay, resetting.address(), "connection reset by peer");
        }
    }
}

/// Says these bytes, and then the last of them again and again, one at a time with so long a rest.
fn trickling(bytes: &'static [u8], rest: Duration) -> Backend {
    Backend::scripted(move |peer| {
        use std::io::Write as _;
        let last = bytes.last().into_iter().cycle();
        for byte in bytes.iter().chain(last) {
            if peer.stream().write_all(&[*byte]).is_err() {
                return;
            }
            pause(rest);
        }
    })
}

const HEAD: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nready";
const REDIS: &[u8] = b"+OK\r\n*3\r\n$6\r\nmaster\r\n:0\r\n*0\r\n";
const POSTGRES: &[u8] = b"R\0\0\0\x08\0\0\0\0Z\0\0\0\x05I";

#[test]
fn a_good_answer_that_trickles_in_is_too_late() {
    for (kind, answer, reason) in [
        (KINDS[0], &b"+PONG"[..], "timed out after 1.5s at step 1: expected \"+PONG\", got \"+"),
        (KINDS[1], HEAD, "timed out after 1.5s at the answer"),
        (KINDS[2], REDIS, "timed out after 1.5s at the answer to AUTH"),
        (KINDS[3], POSTGRES, "timed out after 1.5s at the login"),
    ] {
        let slow = trickling(answer, Duration::from_secs(1));
        let forebay = probing_for(&[slow.address()], kind, "1500ms");
        let found = || verdict(&forebay, slow.address());
        let right = || matches!(found(), Some(Err(said)) if said.starts_with(reason));
        assert!(comes_true(SOON, right), "{kind}: {:?}", found());
    }
}

#[test]
fn an_answer_in_too_many_pieces_is_a_failure_long_before_the_timeout() {
    let over = "the answer came in more than 1000 pieces";
    for (kind, answer) in [(KINDS[0], &b"x"[..]), (KINDS[1], b"HTTP/1.1 200 OK\r\nA: x")] {
        // Whatever the machine does, a thousand of them are read before 64 KiB have come.
        let slow = trickling(answer, Duration::from_millis(1));
        let forebay = probing_for(&[slow.address()], kind, "10m");
        let found = || verdict(&forebay, slow.address());
        let right = || matches!(found(), Some(Err(said)) if said.ends_with(over));
        assert!(comes_true(SOON * 10, right), "{kind}: {:?}", found());
    }
}
