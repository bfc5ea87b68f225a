//! The model test: both ends of each connection play random scripts, and what each of them saw is judged.
//!
//! MODEL_SCRIPTS, MODEL_SEED and MODEL_ONLY choose the scripts; a failure prints how to play it again.

#![allow(unreachable_pub, reason = "the modules of a test crate are public in none")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test fails loudly and says where"
)]

mod driver;
mod end;
mod oracle;
mod scenarios;
mod script;
mod slot;
#[path = "../support/mod.rs"]
mod support;

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::Duration;

use driver::Run;
use oracle::Kind;
use slot::Slot;
use support::{Careless, Forebay, SOON, Start, comes_true, eventually};

/// Scripts of one run, unless MODEL_SCRIPTS says otherwise.
const SCRIPTS: u64 = 2000;

#[test]
fn the_promises_hold_with_splice_forced() {
    let (spliced, moved) = run("always");
    assert!(spliced * 10 > moved * 9, "only {spliced} of {moved} bytes were spliced");
}

#[test]
fn the_promises_hold_with_splice_off() {
    let (spliced, moved) = run("never");
    assert_eq!((spliced, moved > 0), (0, true));
}

#[test]
fn the_promises_hold_by_default() {
    let (_, moved) = run("auto");
    assert!(moved > 0);
}

/// Without a proxy between them the promises hold: the oracle asks nothing that TCP does not give.
#[test]
fn the_promises_hold_without_a_proxy() {
    let run = Run::from_environment(SCRIPTS);
    run.play(driver::slots(|_, backend| backend)).expect_clean(run);
}

/// A proxy that turns resets into FINs is found out.
#[test]
fn a_careless_proxy_is_found_out() {
    let run = Run { seed: 1, first: 0, end: 300 };
    let mut proxies = Vec::new();
    let slots = driver::slots(|_, backend| {
        proxies.push(Careless::before(backend));
        proxies.last().unwrap().address()
    });
    let kinds: Vec<Kind> = run.play(slots).violations.into_iter().map(|(_, v)| v.kind).collect();
    assert!(kinds.contains(&Kind::FalseEof), "{kinds:?}");
}

/// Plays the scripts through the real binary; bytes spliced and bytes moved.
fn run(splice: &str) -> (u64, u64) {
    let run = Run::from_environment(SCRIPTS);
    let (forebay, slots) = start(splice);
    let before = forebay.sockets();
    let outcome = run.play(slots);
    outcome.expect_clean(run);
    // What the kernel does not tell of, the session cannot end for.
    let most = before + 2 * usize::try_from(outcome.untold).unwrap();
    assert!(
        comes_true(Duration::from_secs(1), || forebay.sockets() <= most),
        "{before} sockets before, {} a second after the last connection",
        forebay.sockets()
    );
    let played = usize::try_from(run.end - run.first).unwrap();
    let ended = played - usize::try_from(outcome.untold).unwrap();
    eventually(SOON, || forebay.sessions().len() >= ended);
    let sessions = forebay.sessions();
    assert!(sessions.len() <= played, "{} lines for {played} sessions", sessions.len());
    let spliced = sessions.iter().map(|session| session.spliced).sum();
    (spliced, sessions.iter().map(|session| session.bytes_up + session.bytes_down).sum())
}

/// A forebay with a listener and a pool for each slot.
fn start(splice: &str) -> (Forebay, Vec<Slot>) {
    let mut config = "[runtime]\nworkers = 2\n".to_owned();
    let mut slots = driver::slots(|number, backend: SocketAddr| {
        let _ = write!(
            config,
            "[listener.s{number}]\naddress = \"127.0.0.1:0\"\npool = \"s{number}\"\n\
             [pool.s{number}]\nbackends = [\"{backend}\"]\n"
        );
        backend
    });
    let forebay = Start::new(config).splice(splice).sessions().start();
    for (number, slot) in slots.iter_mut().enumerate() {
        slot.front = forebay.address(&format!("s{number}"));
    }
    (forebay, slots)
}
