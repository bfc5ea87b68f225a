//! The model test: both ends of each connection play random scripts, and what each of them saw is judged.
//!
//! FOREBAY_SCRIPTS, MODEL_SEED and MODEL_ONLY choose the scripts; a failure prints how to play it again.

mod beat;
pub mod changing;
mod driver;
mod end;
mod held;
mod line;
mod network;
mod oracle;
pub mod proxies;
mod scenarios;
mod script;
mod slot;

use std::net::Ipv4Addr;
use std::time::Duration;

use driver::{ENOUGH, Outcome, Run};
use network::Network;
use oracle::Kind;
use slot::Slot;

use crate::alone;
use crate::proxy::{self, Proxy, Setup};
use crate::rest::is_sanitized;
use crate::support::{Careless, SOON, SessionLine, comes_true, eventually};

/// Scripts of one run, unless FOREBAY_SCRIPTS says otherwise.
const SCRIPTS: u64 = 2000;

/// Scripts of a run that takes longer, in the same way.
const FEW: u64 = 500;

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
    let (spliced, moved) = run("auto");
    assert!(spliced > 0 && spliced < moved, "{spliced} of {moved} bytes were spliced");
}

/// Without a proxy between them the promises hold: the oracle asks nothing that TCP does not give.
#[test]
fn the_promises_hold_without_a_proxy() {
    let _alone = alone();
    let run = Run::from_environment(SCRIPTS);
    let network = Network::new();
    network.play(run, network.slots(|_, backend| backend)).expect_clean(run);
}

/// A proxy that turns resets into FINs is found out.
#[test]
fn a_careless_proxy_is_found_out() {
    let _alone = alone();
    let run = Run { seed: 1, first: 0, end: 300, enough: ENOUGH };
    let (network, mut proxies) = (Network::new(), Vec::new());
    let slots = network.slots(|_, backend| {
        proxies.push(Careless::before(backend));
        proxies.last().unwrap().address()
    });
    let kinds: Vec<Kind> =
        network.play(run, slots).violations.into_iter().map(|(_, v)| v.kind).collect();
    assert!(kinds.contains(&Kind::FalseEof), "{kinds:?}");
}

/// Plays the scripts through the real binary; bytes spliced and bytes moved.
fn run(splice: &'static str) -> (u64, u64) {
    let _alone = alone();
    let run = Run::from_environment(SCRIPTS);
    let network = Network::new();
    let mut slots = network.slots(|_, backend| backend);
    let setup = setup(&slots, &network, Ipv4Addr::LOCALHOST);
    let mut stage = proxies::start(proxy::Kind::Forebay { splice }, setup, &mut slots);
    let outcome = network.play(run, slots);
    outcome.expect_clean(run);
    // What the kernel does not tell of, the session cannot end for.
    let untold = usize::try_from(outcome.untold).unwrap();
    // An upstream's socket is kept for a second.
    let bound = if is_sanitized() { SOON } else { Duration::from_secs(2) };
    let soon = comes_true(bound, || stage.holds_only(untold));
    assert!(soon, "sockets are left {bound:?} after the last connection");
    let said = || stage.proxy().said();
    let sessions = ended(|| said().lines().filter_map(SessionLine::read).collect(), run, &outcome);
    proxies::expect_nothing_left(&mut stage, &outcome);
    let spliced = sessions.iter().map(|session| session.spliced).sum();
    (spliced, sessions.iter().map(|session| session.bytes_up + session.bytes_down).sum())
}

/// Waits until each script's session has ended, but those whose end nobody was told of.
fn ended(told: impl Fn() -> Vec<SessionLine>, run: Run, outcome: &Outcome) -> Vec<SessionLine> {
    let played = usize::try_from(run.end - run.first).unwrap();
    let ended = played - usize::try_from(outcome.untold).unwrap();
    eventually(SOON, || told().len() >= ended);
    let sessions = told();
    assert!(sessions.len() <= played, "{} lines for {played} sessions", sessions.len());
    sessions
}

/// A proxy with two workers and a listener at `host` for each slot.
fn setup<'a>(slots: &[Slot], network: &'a Network, host: Ipv4Addr) -> Setup<'a> {
    Setup {
        backends: slots.iter().map(|slot| slot.front).collect(),
        apart: true,
        workers: Some(2),
        within: network.netns().map(|netns| (netns, host.into())),
        ..Setup::default()
    }
}

/// Sends the clients of each slot to its listener.
fn put_before(proxy: &dyn Proxy, slots: &mut [Slot]) {
    for (slot, address) in slots.iter_mut().zip(proxy.addresses()) {
        slot.front = address;
    }
}
