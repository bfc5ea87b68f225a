//! What HAProxy's own tests of its checks assert, where other files here do not: protocols that
//! `send-expect` speaks, and a backend that is taken out of rotation and put back.

use std::io::Write as _;

use super::*;
use crate::support::{Backend, Peer, eventually};

/// smtpchk: a banner, a greeting, and leave taken in order.
const SMTP: &str = r#"{ send-expect = { steps = [
    { expect = { regex = '^220[ -].*\r\n' } },
    { send = "EHLO forebay.example\r\n" },
    { expect = { regex = '(?m)^250 .*\r\n' } },
    { send = "QUIT\r\n" },
    { expect = "221 " },
] } }"#;

/// mysql-check without a user: the first packet is a greeting of protocol 10, not an error (0xff).
const MYSQL: &str =
    r#"{ send-expect = { steps = [{ expect = { regex = '(?s)^...\x00\x0a' } }] } }"#;

/// ldap-check: an anonymous bind (RFC 4511, 4.2) has the result 0.
const LDAP: &str = r#"{ send-expect = { steps = [
    { send = { hex = "30 0c 02 01 01 60 07 02 01 03 04 00 80 00" } },
    { expect = { regex = '(?s)^\x30.\x02\x01\x01\x61.\x0a\x01\x00' } },
] } }"#;

/// Hangs up after what is no success.
fn smtp(greeting: &'static str, hello: &'static str) -> Backend {
    Backend::scripted(move |peer: &mut Peer| {
        peer.send(greeting.as_bytes());
        let good = |answer: &str| answer.starts_with('2');
        let mut said = greeting;
        while let Some(line) = good(said).then(|| peer.line()).flatten() {
            said = match line.trim_end() {
                "EHLO forebay.example" => hello,
                "QUIT" => "221 2.0.0 bye\r\n",
                _ => "502 what?\r\n",
            };
            if peer.stream().write_all(said.as_bytes()).is_err() {
                return;
            }
        }
    })
}

/// Says this, whatever it is asked, if it is asked first; and hangs up.
fn saying(bytes: &'static [u8], asked: bool) -> Backend {
    Backend::scripted(move |peer: &mut Peer| {
        if asked && peer.read_some(64).is_err() {
            return;
        }
        let _ = peer.stream().write_all(bytes);
    })
}

#[test]
fn mail_servers_are_probed_by_what_they_say() {
    let good = smtp("220 mx ESMTP\r\n", "250-mx\r\n250-SIZE 1000\r\n250 HELP\r\n");
    let (full, strict) = (smtp("421 too many\r\n", ""), smtp("220 mx\r\n", "550 go away\r\n"));
    let all = [good.address(), full.address(), strict.address()];
    let forebay = probing_for(&all, SMTP, "10s");
    expect_healthy(&forebay, good.address());
    let closed = "then the connection was closed";
    let why = r#"step 1: expected regex "^220[ -].*\\r\\n", got "421 too many\r\n""#;
    expect_unhealthy(&forebay, full.address(), &format!("{why}, {closed}"));
    let why = r#"step 3: expected regex "(?m)^250 .*\\r\\n", got "550 go away\r\n""#;
    expect_unhealthy(&forebay, strict.address(), &format!("{why}, {closed}"));
}

#[test]
fn databases_and_directories_are_probed_by_what_they_say() {
    let greeting = b"\x4a\0\0\0\x0a8.0.36\0\x08\0\0\0salt1234\0\xff\xf7\x08\x02\0\xff\xc1\x15";
    let refusal = b"\x45\0\0\0\xff\x69\x04Host 'probe' is blocked";
    let (good, blocked) = (saying(greeting, false), saying(refusal, false));
    let forebay = probing_for(&[good.address(), blocked.address()], MYSQL, "10s");
    expect_healthy(&forebay, good.address());
    let why = verdict_of(&forebay, blocked.address());
    assert!(why.contains("Host 'probe' is blocked"), "{why}");

    let success = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x00\x04\x00\x04\x00";
    let busy = b"\x30\x0c\x02\x01\x01\x61\x07\x0a\x01\x33\x04\x00\x04\x00";
    let (good, busy) = (saying(success, true), saying(busy, true));
    let forebay = probing_for(&[good.address(), busy.address()], LDAP, "10s");
    expect_healthy(&forebay, good.address());
    let why = verdict_of(&forebay, busy.address());
    assert!(why.starts_with("step 2: expected regex") && why.ends_with("was closed"), "{why}");
}

/// Why probes have found it unhealthy.
#[track_caller]
fn verdict_of(forebay: &Forebay, backend: SocketAddr) -> String {
    let mut why = None;
    eventually(SOON, || {
        why = verdict(forebay, backend).and_then(Result::err);
        why.is_some()
    });
    why.unwrap()
}

#[test]
fn who_is_taken_out_of_rotation_is_not_probed_until_it_is_put_back() {
    let (backend, clock) = (Backend::naming("up"), Backend::silent());
    let file = |state: &str| {
        format!(
            "[reload]\nwatch = \"off\"\n\
             [defaults.pool]\nprobe = {{ interval = \"50ms\", rise = 1, fall = 1 }}\n\
             [listener.web]\naddress = \"127.0.0.1:0\"\npool = \"app\"\n\
             [pool.app]\nbackends = [{{ address = \"{}\", state = \"{state}\" }}]\n\
             [listener.other]\naddress = \"127.0.0.1:0\"\npool = \"clock\"\n\
             [pool.clock]\nbackends = [\"{}\"]\n",
            backend.address(),
            clock.address()
        )
    };
    let probes_pass = || {
        let before = clock.accepted();
        eventually(SOON, || clock.accepted() > before + 4);
    };
    let forebay = Start::new(file("ready")).sessions().start();
    let served = || Peer::try_connect(forebay.address("web")).ok()?.line();
    expect_healthy(&forebay, backend.address());
    assert_eq!(served().as_deref(), Some("up"));

    forebay.reload(&file("maint")).expect_applied();
    Peer::expect_rejection(forebay.address("web"));
    eventually(SOON, || forebay.sessions().iter().any(|it| it.reason.contains("no_backend")));
    // What was under way is over by then.
    probes_pass();
    let met = backend.accepted();
    probes_pass();
    assert_eq!(backend.accepted(), met);

    forebay.reload(&file("ready")).expect_applied();
    assert_eq!(served().as_deref(), Some("up"));
    eventually(SOON, || backend.accepted() > met + 3);
}
