//! `send-expect`: conversations that go as written, and those that do not.

use super::*;
use crate::support::{Backend, Peer, deaf_address, refusing_address};

/// Answers each line that it gets with what `answer` makes of it.
fn answering(answer: impl Fn(&str) -> Vec<u8> + Send + Sync + 'static) -> Backend {
    Backend::scripted(move |peer: &mut Peer| {
        while let Some(line) = peer.line() {
            peer.send(&answer(line.trim_end()));
        }
    })
}

const PING: &str = r#"{ send-expect = { steps = [{ send = "PING\r\n" }, { expect = "+PONG" }] } }"#;

#[test]
fn a_conversation_that_goes_as_written_is_healthy() {
    let mail = Backend::scripted(|peer| {
        peer.send(b"220 mx ready\r\n");
        assert_eq!(peer.line().as_deref(), Some("HELO a\r"));
        peer.send(b"250 \x00\xff");
        assert_eq!(peer.line().as_deref(), Some("QUIT\r"));
        peer.send(b"221 2.0.0 by");
    });
    let kind = r#"{ send-expect = { steps = [
        { expect = { regex = '^220 .*\r\n' } },
        { send = "HELO a\r\n" },
        { expect = "250 " },
        { expect = { hex = "00 FF" } },
        { send = { hex = "51 55 49 54 0d 0a" } },
        { expect = { regex = '^221 \d\.' } },
    ] } }"#;
    let forebay = probing(&[mail.address()], kind);
    expect_healthy(&forebay, mail.address());
}

#[test]
fn what_was_expected_once_is_not_found_again() {
    let backend = answering(|_| b"+PONG\r\n".to_vec());
    let kind = r#"{ send-expect = { steps =
        [{ send = "PING\n" }, { expect = "+PONG" }, { expect = "+PONG" }] } }"#;
    let forebay = probing_for(&[backend.address()], kind, "200ms");
    let reason = r#"timed out after 200ms at step 3: expected "+PONG", got "\r\n""#;
    expect_unhealthy(&forebay, backend.address(), reason);
}

#[test]
fn each_reason_says_what_was_missing_at_which_step() {
    let wrong = answering(|_| b"-ERR \x1b[2J it's wrong\r\n".to_vec());
    let leaving = Backend::scripted(|peer| {
        peer.line();
        peer.send(b"-ERR");
        peer.finish();
    });
    let silent = Backend::silent();
    let (deaf, _held) = deaf_address();
    let (refusing, _socket) = refusing_address();
    let good = answering(|line| format!("+PONG to {line}\r\n").into_bytes());
    let reasons = [
        (
            wrong.address(),
            r#"timed out after 300ms at step 2: expected "+PONG", got "-ERR \u{1b}[2J it's wrong\r\n""#,
        ),
        (
            leaving.address(),
            r#"step 2: expected "+PONG", got "-ERR", then the connection was closed"#,
        ),
        (silent.address(), r#"timed out after 300ms at step 2: expected "+PONG""#),
        (deaf, "timed out after 300ms at a connection"),
        (refusing, "connection refused"),
    ];
    let all: Vec<SocketAddr> =
        reasons.iter().map(|(address, _)| *address).chain([good.address()]).collect();
    let forebay = probing_for(&all, PING, "300ms");
    for (address, reason) in reasons {
        expect_unhealthy(&forebay, address, reason);
    }
    expect_healthy(&forebay, good.address());
    // Only the good one serves.
    for _ in 0..6 {
        let mut client = Peer::connect(forebay.address("web"));
        client.send(b"me\n");
        assert_eq!(client.line().as_deref(), Some("+PONG to me\r"));
    }
}
